//! A word that is not known, and the known one that may have been meant.

/// How alike two words must be, from 0 to 1.
const ALIKE: f64 = 0.8;
/// Most words that are named when none is alike.
const NAMED: usize = 12;

/// What to say behind an unknown word: the one that may have been meant, else those that there are; nothing when there
/// are none.
pub fn propose<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.filter(|known| !known.is_empty()).collect();
    let like = |known: &&str| strsim::jaro_winkler(&word.to_lowercase(), &known.to_lowercase());
    let nearest = known.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
    match nearest {
        None => String::new(),
        Some(nearest) if like(nearest) >= ALIKE => {
            format!("; did you mean {:?}?", crate::text::short(nearest, 100))
        }
        Some(_) => {
            let names: Vec<String> =
                known.iter().take(NAMED).map(|name| crate::text::short(name, 60)).collect();
            let more = if known.len() > NAMED { ", …" } else { "" };
            format!("; there are {}{more}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals() {
        let known = ["debian:12", "alpine:3", "home"];
        assert_eq!(propose("debain:12", known.into_iter()), "; did you mean \"debian:12\"?");
        assert_eq!(propose("Home", known.into_iter()), "; did you mean \"home\"?");
        assert_eq!(propose("zzz", known.into_iter()), "; there are debian:12, alpine:3, home");
        assert_eq!(propose("zzz", [].into_iter()), "");
        let many: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
        assert!(propose("zzz", many.iter().map(String::as_str)).ends_with("k11, …"));
    }
}
