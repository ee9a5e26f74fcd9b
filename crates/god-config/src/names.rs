//! Names that a configuration may use, and guesses at what a misspelt one meant.

/// The plugin names built into the calling program. A name outside these lists is a fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// For `executors`.
    pub executors: &'a [&'a str],
    /// For `auth_policy`.
    pub auth: &'a [&'a str],
    /// For `scheduler_policy`.
    pub policies: &'a [&'a str],
    /// For `watchers`.
    pub watchers: &'a [&'a str],
    /// For `status_policy`.
    pub status: &'a [&'a str],
    /// For `storage`.
    pub storages: &'a [&'a str],
}

/// Names that the product has, built into this program or not: these are "not built in", not misspelt.
const PRODUCT_NAMES: &[(&str, &[&str])] = &[
    ("executor", &["docker", "fake", "kubernetes", "local", "mesos", "sge", "slurm", "swarm"]),
    ("authentication plugin", &["fake", "goauth", "local"]),
    ("scheduling policy", &["FairShare", "FiFo"]),
    ("watcher", &["fake", "godflow", "maxlifespan"]),
    ("status plugin", &["consul", "etcd"]),
    ("storage", &["pairtree"]),
];

/// Says what is wrong with a plugin's name and what is known, or `None` when the name is built in.
pub(crate) fn wrong_name(kind: &str, name: &str, known: &[&str]) -> Option<(String, String)> {
    if known.contains(&name) {
        return None;
    }
    let exists = PRODUCT_NAMES.iter().any(|(of, names)| *of == kind && names.contains(&name));
    let what = if exists {
        format!("the {kind} `{name}` is not built into this program")
    } else {
        format!("no {kind} named `{name}`")
    };
    let mut sorted = known.to_vec();
    sorted.sort_unstable();
    let mut accepted = match sorted.is_empty() {
        true => "none is known here".to_owned(),
        false => format!("known here: {}", sorted.join(", ")),
    };
    if let (false, Some(near)) = (exists, nearest(name, known)) {
        accepted.push_str(&format!("; did you mean `{near}`?"));
    }
    Some((what, accepted))
}

/// The name closest to `wrong`, when one is close enough to be a slip of the finger.
pub(crate) fn nearest<'n>(wrong: &str, names: &[&'n str]) -> Option<&'n str> {
    let slips = match wrong.chars().count() {
        0..=2 => return None,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    let wrong = wrong.to_lowercase();
    names
        .iter()
        .map(|name| (distance(&wrong, &name.to_lowercase()), *name))
        .filter(|(distance, _)| *distance <= slips)
        .min()
        .map(|(_, name)| name)
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let a: Vec<char> = a.chars().take(LONGEST).collect();
    let b: Vec<char> = b.chars().take(LONGEST).collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, n) in [("", "", 0), ("abc", "", 3), ("swram", "swarm", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), n, "{a} {b}");
            assert_eq!(distance(b, a), n, "{b} {a}");
        }
    }

    #[test]
    fn near_names_are_found_and_far_ones_not() {
        let names = ["shared_dir", "storage", "store"];
        assert_eq!(nearest("sharde_dir", &names), Some("shared_dir"));
        assert_eq!(nearest("Shared_Dir", &names), Some("shared_dir"));
        assert_eq!(nearest("stoer", &names), Some("store"));
        assert_eq!(nearest("volumes", &names), None);
        assert_eq!(nearest("", &names), None);
    }

    #[test]
    fn a_known_plugin_that_is_not_built_in_is_told_from_a_misspelt_one() {
        let known = ["local", "docker", "fake"];
        assert_eq!(wrong_name("executor", "local", &known), None);
        assert_eq!(
            wrong_name("executor", "mesos", &known),
            Some((
                "the executor `mesos` is not built into this program".to_owned(),
                "known here: docker, fake, local".to_owned()
            ))
        );
        assert_eq!(
            wrong_name("executor", "dokcer", &known),
            Some((
                "no executor named `dokcer`".to_owned(),
                "known here: docker, fake, local; did you mean `docker`?".to_owned()
            ))
        );
        assert_eq!(
            wrong_name("executor", "x", &[]).map(|(_, accepted)| accepted).as_deref(),
            Some("none is known here")
        );
    }
}
