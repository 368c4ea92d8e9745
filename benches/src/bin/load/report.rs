//! What is printed.

use super::options::Options;
use super::round::Figures;

/// The figures of all rounds, hub and mosquitto.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rounds: Vec<(Figures, Figures)>,
}

/// A figure of one server's turn, if it was measured.
type Figure = fn(&Figures) -> Option<f64>;

const ROWS: [(&str, Figure); 3] = [
    ("acknowledged/s", |figures| Some(figures.rate)),
    ("server CPU µs/message", |figures| Some(figures.cpu)),
    ("bytes/idle connection", |figures| figures.memory),
];

/// One round, as it is over.
pub(crate) fn line(number: usize, hub: &Figures, mosquitto: &Figures) -> String {
    let one = |figures: &Figures| {
        let memory = figures.memory.map_or(String::new(), |bytes| format!(", {bytes:.0} B/idle"));
        let Figures { rate, cpu, client, .. } = figures;
        format!("{rate:.0}/s, {cpu:.2} µs{memory} (client {client:.2})")
    };
    format!("round {number}: hubd {}; mosquitto {}", one(hub), one(mosquitto))
}

impl Report {
    pub(crate) fn add(&mut self, hub: Figures, mosquitto: Figures) {
        self.rounds.push((hub, mosquitto));
    }

    /// The middle of the rounds, and the middle of their ratios with the least and the greatest.
    pub(crate) fn table(&self, options: &Options) -> String {
        let Options { connections, window, payload, rounds, .. } = options;
        let mut lines = vec![
            format!(
                "QoS 1 ingest, {connections} connections × {window} in flight, {payload} B, the \
                 middle of {rounds} rounds"
            ),
            format!(
                "{:<24}{:>12}{:>12}{:>18}  (least to greatest)",
                "", "hubd", "mosquitto", "hubd ÷ mosquitto"
            ),
        ];
        for (name, figure) in ROWS {
            let pairs: Vec<(f64, f64)> = self
                .rounds
                .iter()
                .filter_map(|(hub, mosquitto)| Some((figure(hub)?, figure(mosquitto)?)))
                .collect();
            let Some([hub, mosquitto, ratio]) = middles(&pairs) else { continue };
            let (hub, mosquitto) = (hub.middle, mosquitto.middle);
            let digits = if hub.max(mosquitto) < 100.0 { 2 } else { 0 };
            lines.push(format!(
                "{name:<24}{hub:>12.digits$}{mosquitto:>12.digits$}{:>18.2}  ({:.2} to {:.2})",
                ratio.middle, ratio.least, ratio.greatest
            ));
        }
        if self.rounds.iter().any(|(hub, mosquitto)| hub.client.max(mosquitto.client) > 0.9) {
            lines.push(
                "the client was at its limit: acknowledged/s is its rate too; compare CPU".into(),
            );
        }
        lines.join("\n")
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    least: f64,
    middle: f64,
    greatest: f64,
}

fn spread(values: impl Iterator<Item = f64>) -> Option<Spread> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (least, greatest) = (*values.first()?, *values.last()?);
    let (low, high) = (values.get((values.len() - 1) / 2)?, values.get(values.len() / 2)?);
    Some(Spread { least, middle: f64::midpoint(*low, *high), greatest })
}

/// Of the first, of the second, and of the ratios.
fn middles(pairs: &[(f64, f64)]) -> Option<[Spread; 3]> {
    Some([
        spread(pairs.iter().map(|pair| pair.0))?,
        spread(pairs.iter().map(|pair| pair.1))?,
        spread(pairs.iter().map(|pair| pair.0 / pair.1))?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_middle_of_the_ratios_of_the_rounds() {
        let pairs = [(10.0, 10.0), (20.0, 10.0), (90.0, 30.0)];
        let [hub, mosquitto, ratio] = middles(&pairs).unwrap();
        assert_eq!((hub.middle, mosquitto.middle), (20.0, 10.0));
        assert_eq!(ratio, Spread { least: 1.0, middle: 2.0, greatest: 3.0 });
        assert_eq!(middles(&pairs[..2]).unwrap()[0].middle, 15.0);
        assert_eq!(middles(&[]), None);
    }

    #[test]
    fn rows_without_figures_are_left_out() {
        let hub = Figures { rate: 200.0, cpu: 5.0, memory: None, client: 0.5 };
        let mosquitto = Figures { rate: 100.0, cpu: 10.0, memory: None, client: 0.95 };
        let mut report = Report::default();
        report.add(hub, mosquitto);
        let table = report.table(&Options::default());
        assert!(table.contains("0.50  (0.50 to 0.50)"), "{table}");
        assert!(table.contains("2.00  (2.00 to 2.00)"), "{table}");
        assert!(!table.contains("idle connection"), "{table}");
        assert!(table.contains("the client was at its limit"), "{table}");
    }
}
