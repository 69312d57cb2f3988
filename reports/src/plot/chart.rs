//! The few kinds of chart that pages are made of.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::series::DashedLineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

const WIDTH: u32 = 920;
pub const TEXT: (&str, u32) = ("sans-serif", 14);

/// Colours that people with any colour vision tell apart (Okabe and Ito); lines differ by their dashes as well.
const COLORS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

pub fn color(index: usize) -> RGBColor {
    COLORS[index % COLORS.len()]
}

/// Length of the dashes and gaps of the line with this number: the first one has no gaps.
fn dashes(index: usize) -> (u32, u32) {
    [(1, 0), (9, 4), (3, 3), (12, 8), (2, 6), (6, 2)][index % 6]
}

/// A chart of numbers over numbers.
pub type Plane<'a, DB> = ChartContext<'a, DB, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Of<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Draws the line with this number, in its colour and its dashes; with a label it has a place in the [`legend`].
pub fn line<DB: DrawingBackend>(
    chart: &mut Plane<'_, DB>,
    at: usize,
    width: u32,
    points: Vec<(f64, f64)>,
    label: Option<String>,
) -> Of<DB> {
    let style = color(at).stroke_width(width);
    let (dash, gap) = dashes(at);
    let drawn = match gap {
        0 => chart.draw_series(LineSeries::new(points, style))?,
        _ => chart.draw_series(DashedLineSeries::new(points, dash, gap, style))?,
    };
    if let Some(label) = label {
        drawn
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
    }
    Ok(())
}

/// Names the lines that have labels.
pub fn legend<'a, DB: DrawingBackend + 'a>(chart: &mut Plane<'a, DB>) -> Of<DB> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .legend_area_size(30)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .label_font(TEXT)
        .draw()
}

/// Draws a chart of this height. Text is the only target, so it cannot fail but by a mistake of ours.
pub fn svg(height: u32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)
        .and_then(|()| draw(&area))
        .and_then(|()| area.present())
        .expect("a string takes everything");
    drop(area);
    text
}

/// A line that keeps its value until the next point, up to `end`.
pub fn steps(points: &[(f64, f64)], end: f64) -> Vec<(f64, f64)> {
    let mut line: Vec<(f64, f64)> = Vec::with_capacity(2 * points.len() + 1);
    for (at, value) in points {
        if let Some((_, before)) = line.last().copied() {
            line.push((*at, before));
        }
        line.push((*at, *value));
    }
    line.extend(line.last().map(|(_, value)| (end, *value)));
    line
}

/// The last point of each of so many columns: what a chart of this width can show.
pub fn thin(points: &[(f64, f64)], end: f64, columns: usize) -> Vec<(f64, f64)> {
    let column = |at: f64| (at / end.max(f64::MIN_POSITIVE) * columns as f64) as usize;
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for point in points {
        match kept.last_mut() {
            Some(last) if column(last.0) == column(point.0) => *last = *point,
            _ => kept.push(*point),
        }
    }
    kept
}

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    pub label: String,
    pub value: f64,
    /// Behind the bar.
    pub words: String,
}

/// The whole number that this is but for rounding; only these have labels.
pub fn whole(value: f64) -> Option<f64> {
    Some(value.round()).filter(|whole| (value - whole).abs() < 1e-6)
}

/// The label of a power of ten; between them there is no room.
fn power(value: f64) -> String {
    match whole(value.log10()) {
        Some(_) if value >= 1.0 => crate::table::short(value.round() as u64),
        Some(_) => format!("{value}"),
        None => String::new(),
    }
}

/// Horizontal bars, the first on top, on a logarithmic axis: what is counted here differs by powers of ten.
pub fn bars(bars: &[Bar], axis: &str) -> String {
    let rows = bars.len().max(1);
    let values = || bars.iter().map(|bar| bar.value).filter(|value| *value > 0.0);
    let highest = values().fold(1.0, f64::max) * 8.0;
    let lowest = (values().fold(f64::MAX, f64::min) / 2.0).min(highest / 100.0);
    svg(70 + 22 * rows as u32, |area| {
        // The axis goes up, and the first bar is on top.
        let middle = |at: usize| rows as f64 - 0.5 - at as f64;
        let aligned = |side| TextStyle::from(TEXT).pos(Pos::new(side, VPos::Center));
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(42)
            .y_label_area_size(255)
            .build_cartesian_2d((lowest..highest).log_scale(), 0.0..rows as f64)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_label_formatter(&|_| String::new())
            .x_labels(6)
            .x_label_formatter(&|value: &f64| power(*value))
            .x_desc(axis)
            .label_style(TEXT)
            .draw()?;
        chart.draw_series(bars.iter().enumerate().map(|(at, bar)| {
            let corners = [(lowest, middle(at) - 0.36), (bar.value.max(lowest), middle(at) + 0.36)];
            Rectangle::new(corners, color(0).filled())
        }))?;
        chart.draw_series(bars.iter().enumerate().map(|(at, bar)| {
            let end = (bar.value.max(lowest), middle(at));
            EmptyElement::at(end) + Text::new(bar.words.clone(), (6, 0), aligned(HPos::Left))
        }))?;
        chart.draw_series(bars.iter().enumerate().map(|(at, bar)| {
            let start = (lowest, middle(at));
            EmptyElement::at(start) + Text::new(bar.label.clone(), (-8, 0), aligned(HPos::Right))
        }))?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_line_keeps_its_value_until_the_next_point_and_to_the_end() {
        assert_eq!(
            steps(&[(0.0, 1.0), (2.0, 5.0)], 3.0),
            [(0.0, 1.0), (2.0, 1.0), (2.0, 5.0), (3.0, 5.0)]
        );
        assert!(steps(&[], 3.0).is_empty());
    }

    #[test]
    fn of_each_column_the_last_point_is_kept() {
        let points: Vec<(f64, f64)> = (0..1_000).map(|at| (f64::from(at) / 100.0, f64::from(at))).collect();
        let kept = thin(&points, 10.0, 10);
        assert_eq!(kept.len(), 10);
        assert_eq!(kept[0], (0.99, 99.0));
        assert_eq!(thin(&points[..3], 10.0, 100_000), points[..3]);
    }

    #[test]
    fn bars_name_every_row() {
        let one = |label: &str, value| Bar {
            label: label.to_owned(),
            value,
            words: format!("{value}"),
        };
        let text = bars(&[one("first", 3.0), one("second", 4_000.0), one("none", 0.0)], "seeds");
        for word in ["first", "second", "none", "4000", "seeds"] {
            assert!(text.contains(word), "{word} is missing");
        }
    }
}
