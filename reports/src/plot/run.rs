//! Charts of one run.

use super::Figure;
use super::chart::{Drawn, Plane, TEXT, color, legend, line, steps, svg, thin, whole};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::{Deserialize, Serialize};

/// What a run came to, over its simulated time. Times are seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Of the scenario.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// In words.
    pub verdict: String,
    /// How long it was.
    pub end_s: f64,
    /// Partitions of its topics.
    pub partitions: Vec<Partition>,
    /// Times in which something was done to the cluster.
    pub bands: Vec<Band>,
    /// Everything that clients sent.
    pub sends: Vec<Sent>,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// `topic-0`.
    pub name: String,
    /// By broker.
    pub replicas: Vec<Replica>,
    /// Members of the ISR from this moment on.
    pub isr: Vec<(f64, f64)>,
}

/// One replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Replica {
    /// Its broker.
    pub node: String,
    /// From this moment on, the next offset of what is committed as far as it knows.
    pub high_watermark: Vec<(f64, f64)>,
    /// From this moment on, the next offset of its log.
    pub log_end: Vec<(f64, f64)>,
}

/// From here to there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// Beginning.
    pub from_s: f64,
    /// End.
    pub to_s: f64,
    /// `b1 down`.
    pub what: String,
}

/// A record that was handed to a producer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// When.
    pub at_s: f64,
    /// How long it took until it was acknowledged; none: it was not.
    pub latency_ms: Option<f64>,
}

/// Points of a line that a chart can show.
const COLUMNS: usize = 1_200;
/// Left of all charts of a run, so that their times stand below each other.
const LABELS: u32 = 130;

/// All its charts.
pub fn figures(run: &Run) -> Vec<Figure> {
    let mut figures: Vec<Figure> = Vec::new();
    if !run.bands.is_empty() {
        figures.push(Figure {
            title: "Faults".to_owned(),
            caption: "What was done to the cluster, over simulated seconds. It is the shade behind the other charts."
                .to_owned(),
            svg: faults(run),
        });
    }
    let has_records = |partition: &&Partition| {
        let ends = partition.replicas.iter().flat_map(|replica| &replica.log_end);
        ends.map(|point| point.1).fold(0.0, f64::max) > 0.0
    };
    for partition in run.partitions.iter().filter(has_records) {
        figures.push(Figure {
            title: format!("{}: high watermark and log end", partition.name),
            caption:
                "Offsets over simulated seconds. Each broker has a colour and a dash of its own; the thick line is \
                      its high watermark, the thin one its log end."
                    .to_owned(),
            svg: offsets(run, partition),
        });
        figures.push(Figure {
            title: format!("{}: size of the ISR", partition.name),
            caption: "In-sync replicas, as the controller decided them, over simulated seconds.".to_owned(),
            svg: isr(run, partition),
        });
    }
    figures.push(Figure {
        title: "Produce latency".to_owned(),
        caption:
            "Each point is a record: when it was handed to the producer, and how long it took until that was told \
                  success (logarithmic)."
                .to_owned(),
        svg: latency(run),
    });
    figures.push(Figure {
        title: "Availability".to_owned(),
        caption: "Of the records that were handed over in each second, the share that was acknowledged in the end."
            .to_owned(),
        svg: availability(run),
    });
    figures
}

/// A chart over the run's time with its faults behind it.
fn over_time(
    run: &Run,
    (height, has_legend): (u32, bool),
    (low, high): (f64, f64),
    (axis, label): (&str, &dyn Fn(&f64) -> String),
    draw: impl FnOnce(&mut Plane<'_, SVGBackend<'_>>) -> Drawn,
) -> String {
    svg(height, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(LABELS)
            .build_cartesian_2d(0.0..run.end_s.max(0.001), low..high)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("simulated seconds")
            .y_desc(axis)
            .x_label_formatter(&number)
            .y_label_formatter(label)
            .label_style(TEXT)
            .draw()?;
        chart.draw_series(run.bands.iter().map(|band| {
            let corners = [(band.from_s, low), (band.to_s, high)];
            Rectangle::new(corners, BLACK.mix(0.08).filled())
        }))?;
        draw(&mut chart)?;
        if has_legend { legend(&mut chart) } else { Ok(()) }
    })
}

fn number(value: &f64) -> String {
    whole(*value).map_or_else(String::new, |whole| whole.to_string())
}

/// A row for each kind of fault, the one that came first on top.
fn faults(run: &Run) -> String {
    let mut names: Vec<&str> = Vec::new();
    for band in &run.bands {
        if !names.contains(&band.what.as_str()) {
            names.push(&band.what);
        }
    }
    let rows = names.len() as f64;
    let middle = |at: usize| rows - 0.5 - at as f64;
    let height = 70 + 22 * names.len() as u32;
    over_time(run, (height, false), (0.0, rows), ("", &|_| String::new()), |chart| {
        for band in &run.bands {
            let at = names.iter().position(|name| *name == band.what).unwrap_or_default();
            let corners = [(band.from_s, middle(at) - 0.36), (band.to_s, middle(at) + 0.36)];
            chart.draw_series([Rectangle::new(corners, color(1).filled())])?;
        }
        let aligned = TextStyle::from(TEXT).pos(Pos::new(HPos::Right, VPos::Center));
        chart.draw_series(names.iter().enumerate().map(|(at, name)| {
            EmptyElement::at((0.0, middle(at))) + Text::new((*name).to_owned(), (-8, 0), aligned.clone())
        }))?;
        Ok(())
    })
}

fn offsets(run: &Run, partition: &Partition) -> String {
    let values = partition.replicas.iter().flat_map(|replica| &replica.log_end);
    let high = values.map(|point| point.1).fold(1.0, f64::max) * 1.15;
    over_time(run, (420, true), (0.0, high), ("offset", &number), |chart| {
        for (at, replica) in partition.replicas.iter().enumerate() {
            let lines = [
                (&replica.log_end, 1, ""),
                (&replica.high_watermark, 3, "high watermark of "),
            ];
            for (points, width, words) in lines {
                let points = steps(&thin(points, run.end_s, COLUMNS), run.end_s);
                let label = (!words.is_empty()).then(|| format!("{words}{}", replica.node));
                line(chart, at, width, points, label)?;
            }
        }
        Ok(())
    })
}

fn isr(run: &Run, partition: &Partition) -> String {
    let high = partition.isr.iter().map(|point| point.1).fold(1.0, f64::max) + 0.9;
    over_time(run, (220, false), (0.0, high), ("replicas", &number), |chart| {
        let line = steps(&partition.isr, run.end_s);
        chart.draw_series(LineSeries::new(line, color(0).stroke_width(2)))?;
        Ok(())
    })
}

fn latency(run: &Run) -> String {
    let acked: Vec<(f64, f64)> = run
        .sends
        .iter()
        .filter_map(|sent| Some((sent.at_s, sent.latency_ms?.max(0.001).log10())))
        .collect();
    let low = acked.iter().map(|point| point.1).fold(0.0, f64::min).floor();
    let high = acked.iter().map(|point| point.1).fold(1.0, f64::max).ceil();
    // Points in the same place are drawn once.
    let mut places: std::collections::BTreeMap<(i64, i64), (f64, f64)> = std::collections::BTreeMap::new();
    for (at, value) in acked {
        let place = (
            (at / run.end_s.max(0.001) * 800.0) as i64,
            ((value - low) / (high - low) * 250.0) as i64,
        );
        places.insert(place, (at, value));
    }
    over_time(run, (340, false), (low, high), ("latency", &duration), |chart| {
        chart.draw_series(
            places
                .into_values()
                .map(|point| Circle::new(point, 1, color(0).filled())),
        )?;
        Ok(())
    })
}

/// A power of ten of milliseconds.
fn duration(exponent: &f64) -> String {
    match whole(*exponent).map(|exponent| 10f64.powf(exponent)) {
        Some(ms) if ms >= 1_000.0 => format!("{} s", ms / 1_000.0),
        Some(ms) => format!("{ms} ms"),
        None => String::new(),
    }
}

fn availability(run: &Run) -> String {
    let mut seconds: Vec<(u32, u32)> = vec![(0, 0); run.end_s.max(0.0) as usize + 1];
    for sent in &run.sends {
        if let Some((acked, all)) = seconds.get_mut(sent.at_s as usize) {
            *all += 1;
            *acked += u32::from(sent.latency_ms.is_some());
        }
    }
    over_time(run, (220, false), (0.0, 105.0), ("% acknowledged", &number), |chart| {
        let bars = seconds.iter().enumerate().filter(|(_, (_, all))| *all > 0);
        chart.draw_series(bars.map(|(second, (acked, all))| {
            let share = 100.0 * f64::from(*acked) / f64::from(*all);
            let corners = [(second as f64, 0.0), (second as f64 + 0.9, share)];
            Rectangle::new(corners, color(0).filled())
        }))?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_chart_of_each_kind_for_each_partition() {
        let replica = |node: &str| Replica {
            node: node.to_owned(),
            high_watermark: vec![(0.0, 0.0), (1.0, 40.0)],
            log_end: vec![(0.0, 0.0), (0.5, 41.0)],
        };
        let run = Run {
            scenario: "x".to_owned(),
            end_s: 10.0,
            partitions: vec![Partition {
                name: "t-0".to_owned(),
                replicas: vec![replica("b1"), replica("b2")],
                isr: vec![(0.0, 2.0), (4.0, 1.0)],
            }],
            bands: vec![Band {
                from_s: 3.0,
                to_s: 5.0,
                what: "b2 down".to_owned(),
            }],
            sends: vec![
                Sent {
                    at_s: 1.0,
                    latency_ms: Some(3.0),
                },
                Sent {
                    at_s: 4.0,
                    latency_ms: None,
                },
            ],
            ..Run::default()
        };
        let figures = figures(&run);
        let titles: Vec<&str> = figures.iter().map(|figure| figure.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "Faults",
                "t-0: high watermark and log end",
                "t-0: size of the ISR",
                "Produce latency",
                "Availability"
            ]
        );
        assert!(figures[0].svg.contains("b2 down"));
        assert!(figures[1].svg.contains("high watermark of b1") && figures[1].svg.contains("high watermark of b2"));
        assert!(figures[3].svg.contains("10 ms"), "a latency has its unit");
        assert_eq!(figures[3].svg.matches("<circle").count(), 1, "one was acknowledged");
        // Nothing is divided by the length of nothing.
        super::figures(&Run::default());
    }
}
