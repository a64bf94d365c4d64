//! Rows of figures, one figure of each kind for each round.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::drive::Measured;

/// The figures of one subject in one shape.
#[derive(Clone, Debug)]
pub struct Row {
    /// The shape, in words.
    pub shape: String,
    /// The subject.
    pub subject: String,
    /// By kind: the figure of each round.
    pub figures: BTreeMap<&'static str, Vec<f64>>,
}

/// All rows, in the order in which they were measured first, and what was left out.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// The rows.
    pub rows: Vec<Row>,
    /// A line for each row that could not be measured.
    pub left_out: Vec<String>,
}

impl Figures {
    /// Adds the figures of a round.
    pub fn add(&mut self, shape: &str, subject: &str, figures: &[(&'static str, f64)]) {
        let found = self.rows.iter().position(|row| row.shape == shape && row.subject == subject);
        let at = found.unwrap_or_else(|| {
            let (shape, subject) = (shape.to_owned(), subject.to_owned());
            self.rows.push(Row { shape, subject, figures: BTreeMap::new() });
            self.rows.len() - 1
        });
        for (kind, figure) in figures {
            self.rows[at].figures.entry(kind).or_default().push(*figure);
        }
    }

    /// Adds what one measured window showed.
    pub fn add_measured(&mut self, shape: &str, subject: &str, measured: &Measured) {
        let [p50, p99, p999] = [500, 990, 999].map(|per_mille| measured.latency_us(per_mille));
        let figures = [
            (PER_SECOND, measured.per_second),
            (CPU_US, measured.cpu_us),
            (P50_US, p50),
            (P99_US, p99),
            (P999_US, p999),
        ];
        self.add(shape, subject, &figures);
    }

    /// Notes that a row is missing, once.
    pub fn leave_out(&mut self, line: String) {
        if !self.left_out.contains(&line) {
            self.left_out.push(line);
        }
    }

    /// The figures of one kind, by round; `None` when they were not measured.
    pub fn of(&self, (shape, subject): (&str, &str), kind: &str) -> Option<&[f64]> {
        let row = self.rows.iter().find(|row| row.shape == shape && row.subject == subject)?;
        row.figures.get(kind).map(Vec::as_slice)
    }

    /// The median of one kind.
    pub fn median(&self, row: (&str, &str), kind: &str) -> Option<f64> {
        self.of(row, kind).map(median)
    }

    /// The median of the ratios that each round had.
    pub fn ratio(&self, a: (&str, &str), b: (&str, &str), kind: &str) -> Option<f64> {
        let (a, b) = (self.of(a, kind)?, self.of(b, kind)?);
        Some(median(&a.iter().zip(b).map(|(a, b)| a / b).collect::<Vec<_>>()))
    }

    /// Each shape with its rows.
    pub fn by_shape(&self) -> Vec<(&str, Vec<&Row>)> {
        let mut shapes: Vec<(&str, Vec<&Row>)> = vec![];
        for row in &self.rows {
            match shapes.iter_mut().find(|(shape, _)| *shape == row.shape) {
                Some((_, rows)) => rows.push(row),
                None => shapes.push((&row.shape, vec![row])),
            }
        }
        shapes
    }
}

impl Row {
    /// The median of one kind.
    pub fn median(&self, kind: &str) -> Option<f64> {
        self.figures.get(kind).map(|figures| median(figures))
    }

    /// As one object: shape and subject, the medians, and the figures of each round.
    pub fn to_json(&self) -> Value {
        let medians: BTreeMap<_, _> =
            self.figures.iter().map(|(kind, figures)| (*kind, median(figures))).collect();
        json!({
            "shape": self.shape,
            "subject": self.subject,
            "medians": medians,
            "rounds": self.figures,
        })
    }
}

/// Replies a second.
pub const PER_SECOND: &str = "per_second";
/// The broker's CPU time for a request, in microseconds.
pub const CPU_US: &str = "cpu_us";
/// The median time from request to reply, in microseconds.
pub const P50_US: &str = "p50_us";
/// Of a hundred requests, 99 took no longer.
pub const P99_US: &str = "p99_us";
/// Of a thousand requests, 999 took no longer.
pub const P999_US: &str = "p999_us";
/// The broker's CPU time in a second, in milliseconds.
pub const CPU_MS_PER_SECOND: &str = "cpu_ms_per_second";
/// Memory for each thing that is held, in bytes.
pub const BYTES_EACH: &str = "bytes_each";
/// Memory that is still held when nothing is, for each thing that was held.
pub const BYTES_EACH_AFTER: &str = "bytes_each_after";

/// Memory that was held at most, above what was held before, in bytes.
pub const BYTES_PEAK: &str = "bytes_peak";

/// What a kind is called at the head of a column.
pub fn title(kind: &str) -> &'static str {
    match kind {
        PER_SECOND => "requests/s",
        CPU_US => "broker CPU, µs each",
        P50_US => "p50, µs",
        P99_US => "p99, µs",
        P999_US => "p99.9, µs",
        CPU_MS_PER_SECOND => "broker CPU, ms a second",
        BYTES_EACH => "bytes each",
        BYTES_EACH_AFTER => "bytes each, afterwards",
        BYTES_PEAK => "bytes at most",
        _ => "?",
    }
}

/// The kinds in the order of their columns.
pub const KINDS: [&str; 9] = [
    PER_SECOND,
    CPU_US,
    P50_US,
    P99_US,
    P999_US,
    CPU_MS_PER_SECOND,
    BYTES_EACH,
    BYTES_EACH_AFTER,
    BYTES_PEAK,
];

/// A figure with about three digits that matter.
pub fn rounded(figure: f64) -> String {
    if figure.abs() < 10.0 {
        return format!("{figure:.2}");
    }
    if figure.abs() < 100.0 {
        return format!("{figure:.1}");
    }
    let unit = 10_f64.powi((figure.abs().log10() as i32 - 2).max(0));
    let whole = format!("{:.0}", (figure / unit).round() * unit);
    let mut text = String::new();
    for (position, digit) in whole.chars().enumerate() {
        let left = whole.len() - position;
        if position > 0 && left % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The middle one; the lower of two.
pub fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_of_each_round() {
        let mut figures = Figures::default();
        for (a, b) in [(10.0, 10.0), (100.0, 50.0), (9.0, 3.0)] {
            figures.add("shape", "a", &[(PER_SECOND, a)]);
            figures.add("shape", "b", &[(PER_SECOND, b)]);
        }
        let (a, b) = (("shape", "a"), ("shape", "b"));
        assert_eq!(figures.ratio(a, b, PER_SECOND), Some(2.0));
        assert_eq!(figures.median(a, PER_SECOND), Some(10.0));
        assert_eq!(figures.ratio(a, ("shape", "c"), PER_SECOND), None);
    }

    #[test]
    fn figures_have_three_digits() {
        let texts = [0.123, 12.34, 123.4, 1_234.5, 1_234_567.0].map(rounded);
        assert_eq!(texts, ["0.12", "12.3", "123", "1,230", "1,230,000"]);
    }
}
