//! Charts as SVG: bars in groups, with a linear scale or a logarithmic one.

use std::fmt::Write;

use super::beating::{ALONE, AMONG, BEATING};
use super::figures::{
    BYTES_EACH, BYTES_EACH_AFTER, CPU_US, Figures, P50_US, P99_US, P999_US, PER_SECOND, rounded,
};
use super::plan::*;
use super::waiting::WAITING;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 80.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 40.0;
/// Told apart by those who do not see all colours, too.
const COLOURS: [&str; 7] =
    ["#0072b2", "#56b4e9", "#999999", "#cccccc", "#009e73", "#e69f00", "#d55e00"];

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The name of its file.
    pub file: &'static str,
    title: &'static str,
    logarithmic: bool,
    groups: Vec<String>,
    /// A name, and a bar for each group; none where nothing was measured.
    series: Vec<(String, Vec<Option<f64>>)>,
}

/// The files of all charts.
pub const FILES: [&str; 5] =
    ["throughput.svg", "cpu.svg", "latency.svg", "workers.svg", "waiting.svg"];

/// All charts of these figures.
pub fn charts(figures: &Figures) -> [Chart; 5] {
    let [throughput, cpu, latency, workers, waiting] = FILES;
    let depths = |file, title, kind| by_depth(figures, file, title, kind);
    let bars = |name: &str, rows: &[(&str, &str)], kind| {
        (name.to_owned(), rows.iter().map(|row| figures.median(*row, kind)).collect())
    };
    let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let subjects = [MAJORDOMO, BARE, PROXY, NATS, GEARMAND];
    let rows: Vec<_> = subjects
        .map(|subject| (SIXTEEN, subject))
        .into_iter()
        .chain([(BEATING, ALONE), (BEATING, AMONG)])
        .collect();
    let names = [&subjects[..], &["half load", "half load, 1,000 beat"]].concat();
    let crowd = |subject| [CROWD_10, CROWD_1000, CROWD_10000].map(|shape| (shape, subject));
    let waited = [(WAITING, MAJORDOMO), (WAITING, BARE)];
    [
        depths(throughput, "Requests a second, by requests in flight", PER_SECOND),
        depths(cpu, "Broker CPU for a request in µs, by requests in flight", CPU_US),
        Chart {
            file: latency,
            title: "Latency in µs: 16 clients, 1 in flight each, 16 workers; half load",
            logarithmic: true,
            groups: groups(&names),
            series: vec![
                bars("p50", &rows, P50_US),
                bars("p99", &rows, P99_US),
                bars("p99.9", &rows, P999_US),
            ],
        },
        Chart {
            file: workers,
            title: "Broker CPU for a request in µs, by connected workers and services",
            logarithmic: false,
            groups: groups(&["10", "1,000", "10,000"]),
            series: vec![
                bars(MAJORDOMO, &crowd(MAJORDOMO), CPU_US),
                bars(BARE, &crowd(BARE), CPU_US),
            ],
        },
        Chart {
            file: waiting,
            title: "Memory in bytes for each of 100,000 waiting 16-byte requests",
            logarithmic: false,
            groups: groups(&[MAJORDOMO, BARE]),
            series: vec![
                bars("while they wait", &waited, BYTES_EACH),
                bars("when all are answered", &waited, BYTES_EACH_AFTER),
            ],
        },
    ]
}

fn by_depth(
    figures: &Figures,
    file: &'static str,
    title: &'static str,
    kind: &'static str,
) -> Chart {
    let taking_one = [ONE, DEEP_64, DEEP_1000];
    let batching = [ONE, BATCH_64, BATCH_1000];
    let bars = |name: &str, shapes: [&str; 3], subject: &str| {
        let of = |shape| figures.median((shape, subject), kind);
        (name.to_owned(), shapes.map(of).to_vec())
    };
    Chart {
        file,
        title,
        logarithmic: true,
        groups: ["1", "64", "1,000"].map(str::to_owned).to_vec(),
        series: vec![
            bars("majordomo, MDP/1.0", batching, MAJORDOMO_V10),
            bars("majordomo, MDP/0.2", taking_one, MAJORDOMO),
            bars("bare loop, MDP/1.0", ["", BATCH_64, BATCH_1000], BARE),
            bars("bare loop, MDP/0.2", taking_one, BARE),
            bars("majordomo, SDKs", batching, SDK),
            bars("zmq_proxy", batching, PROXY),
            bars("NATS", batching, NATS),
        ],
    }
}

impl Chart {
    /// As a picture.
    pub fn to_svg(&self) -> String {
        let mut svg = String::new();
        let out = &mut svg;
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>"
        );
        self.text(out, LEFT, 20.0, 15, "start", self.title);
        self.legend(out);
        let bars = self.series.iter().flat_map(|(_, bars)| bars.iter().flatten().copied());
        let bars = bars.filter(|bar| *bar > 0.0);
        let (least, most) =
            bars.fold((f64::MAX, 0.0), |(least, most), bar| (bar.min(least), bar.max(most)));
        if most > 0.0 {
            let scale = Scale::of(self.logarithmic, least, most);
            self.lines(out, &scale);
            self.bars(out, &scale);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn text(&self, out: &mut String, x: f64, y: f64, size: u8, anchor: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            out,
            "<text x=\"{x:.0}\" y=\"{y:.0}\" font-size=\"{size}\" fill=\"#222222\" \
             text-anchor=\"{anchor}\">{text}</text>"
        );
    }

    fn legend(&self, out: &mut String) {
        let mut x = LEFT;
        for ((name, _), colour) in self.series.iter().zip(COLOURS) {
            let _ = writeln!(
                out,
                "<rect x=\"{x:.0}\" y=\"34\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"
            );
            self.text(out, x + 14.0, 43.0, 12, "start", name);
            x += 28.0 + 6.5 * name.chars().count() as f64;
        }
    }

    fn lines(&self, out: &mut String, scale: &Scale) {
        for mark in scale.marks() {
            let y = scale.y(mark);
            let right = WIDTH - 10.0;
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>"
            );
            self.text(out, LEFT - 6.0, y + 4.0, 12, "end", &short(mark));
        }
    }

    fn bars(&self, out: &mut String, scale: &Scale) {
        let group_width = (WIDTH - LEFT - 10.0) / self.groups.len() as f64;
        let bar_width = group_width * 0.8 / self.series.len() as f64;
        let floor = HEIGHT - BOTTOM;
        for (group, name) in self.groups.iter().enumerate() {
            let left = LEFT + group as f64 * group_width;
            self.text(out, left + group_width / 2.0, floor + 18.0, 12, "middle", name);
            for (place, ((_, bars), colour)) in self.series.iter().zip(COLOURS).enumerate() {
                let Some(bar) = bars.get(group).copied().flatten() else { continue };
                let x = left + group_width * 0.1 + place as f64 * bar_width;
                let y = scale.y(bar);
                let (width, height) = (bar_width - 2.0, (floor - y).max(0.0));
                let _ = writeln!(
                    out,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
                     fill=\"{colour}\"/>"
                );
                self.text(out, x + width / 2.0, y - 3.0, 9, "middle", &short(bar));
            }
        }
    }
}

struct Scale {
    logarithmic: bool,
    least: f64,
    most: f64,
}

impl Scale {
    fn of(logarithmic: bool, least: f64, most: f64) -> Self {
        let whole = |figure: f64, round: fn(f64) -> f64| 10_f64.powf(round(figure.log10()));
        if logarithmic {
            // A bar that is just a power of ten is still seen.
            let (least, most) = (whole(least * 0.99, f64::floor), whole(most, f64::ceil));
            Scale { logarithmic, least, most }
        } else {
            Scale { logarithmic, least: 0.0, most: most * 1.1 }
        }
    }

    fn y(&self, figure: f64) -> f64 {
        let share = if self.logarithmic {
            (figure.max(self.least) / self.least).log10() / (self.most / self.least).log10()
        } else {
            figure / self.most
        };
        HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
    }

    fn marks(&self) -> Vec<f64> {
        if self.logarithmic {
            let powers = (self.most / self.least).log10().round() as i32;
            return (0..=powers).map(|power| self.least * 10_f64.powi(power)).collect();
        }
        let power = 10_f64.powf((self.most / 4.0).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let step = step.into_iter().find(|step| self.most / step <= 6.0).unwrap_or(self.most);
        (0..=6).map(|mark| f64::from(mark) * step).filter(|mark| *mark <= self.most).collect()
    }
}

/// So short that it stands above a bar.
fn short(figure: f64) -> String {
    match figure {
        1e6.. => format!("{}M", rounded(figure / 1e6)),
        1e4.. => format!("{}k", rounded(figure / 1e3)),
        _ => rounded(figure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_stands_within_the_picture() {
        let mut figures = Figures::default();
        for (shape, rate) in [(ONE, 5e3), (BATCH_64, 2e5), (BATCH_1000, 2.1e6)] {
            figures.add(shape, MAJORDOMO_V10, &[(PER_SECOND, rate)]);
        }
        let [throughput, ..] = charts(&figures);
        let svg = throughput.to_svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"), "{svg}");
        assert!(
            svg.contains(">2.10M<") && svg.contains(">200k<") && svg.contains(">5,000<"),
            "{svg}"
        );
        let bars = svg.matches("<rect").count() - 1 - throughput.series.len();
        assert_eq!(bars, 3);
        let scale = Scale::of(true, 5e3, 2.1e6);
        for figure in [5e3, 2e5, 2.1e6] {
            assert!((TOP..HEIGHT - BOTTOM).contains(&scale.y(figure)), "{figure}");
        }
    }

    #[test]
    fn nothing_measured_is_an_empty_chart() {
        for chart in charts(&Figures::default()) {
            assert!(chart.to_svg().ends_with("</svg>\n"));
        }
    }
}
