//! Collects and prints figures.

/// Figures in the order they were measured.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<String>,
    only: Option<String>,
}

impl Report {
    /// An empty one; `only` names the figures wanted.
    pub fn new(only: Option<String>) -> Report {
        Report { lines: Vec::new(), only }
    }

    /// Whether one of these figures is wanted.
    pub fn wants(&self, names: &[&str]) -> bool {
        self.only.as_ref().is_none_or(|only| names.iter().any(|n| n.contains(only.as_str())))
    }

    /// Whether this was named: for what takes long.
    pub fn names(&self, name: &str) -> bool {
        self.only.as_ref().is_some_and(|only| only.contains(name))
    }

    /// Adds a figure and prints it.
    pub fn add(&mut self, name: &str, value: f64, unit: &str) {
        let digits = if value.abs() >= 100.0 { 0 } else { 2 };
        let line = format!("{name} {value:.digits$} {unit}");
        println!("{line}");
        self.lines.push(line);
    }

    /// All lines.
    pub fn text(&self) -> String {
        self.lines.iter().map(|l| format!("{l}\n")).collect()
    }
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this part of the values lies.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}
