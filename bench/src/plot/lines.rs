//! Lines over two axes, with a legend.

use super::axis::Axis;
use super::svg::{Anchor, Frame, Svg};

const GRID: &str = "#dddddd";
const TITLE_SIZE: u32 = 16;
const TEXT_SIZE: u32 = 12;
/// Room for tick labels and the axis' name.
const LEFT: f64 = 62.0;
const BOTTOM: f64 = 46.0;
const TOP: f64 = 30.0;
const LEGEND_LINE: f64 = 18.0;
const LEGEND_COLUMNS: usize = 3;

/// One line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) colour: &'static str,
    pub(crate) dashed: bool,
}

/// A chart of lines.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

impl Lines {
    /// Draws the chart, title and labels included, into `frame`.
    pub(crate) fn draw(&self, page: &mut Svg, frame: Frame) {
        let mut area = plot_area(frame);
        let legend = LEGEND_LINE * self.lines.len().div_ceil(LEGEND_COLUMNS) as f64;
        area.top += legend;
        area.height -= legend;
        page.text((area.left, frame.top + 16.0), TITLE_SIZE, Anchor::Start, &self.title);
        draw_grid(page, area, &self.y);
        self.draw_x(page, area);
        for line in &self.lines {
            let place = |(x, y): &(f64, f64)| place(area, (self.x.place(*x), self.y.place(*y)));
            let points: Vec<_> = line.points.iter().map(place).collect();
            page.path(&points, line.colour, line.dashed);
        }
        self.draw_legend(page, frame);
    }

    fn draw_x(&self, page: &mut Svg, area: Frame) {
        for (value, name) in &self.x.ticks {
            let (x, _) = place(area, (self.x.place(*value), 0.0));
            page.line((x, area.top), (x, area.bottom()), GRID);
            page.text((x, area.bottom() + 16.0), TEXT_SIZE, Anchor::Middle, name);
        }
        let middle = area.left + area.width / 2.0;
        page.text((middle, area.bottom() + 36.0), TEXT_SIZE, Anchor::Middle, &self.x.label);
    }

    /// Above the plot, where no line is.
    fn draw_legend(&self, page: &mut Svg, frame: Frame) {
        let column = frame.width / LEGEND_COLUMNS as f64;
        for (index, line) in self.lines.iter().enumerate() {
            let (across, down) = (index % LEGEND_COLUMNS, index / LEGEND_COLUMNS);
            let x = frame.left + LEFT + column * across as f64 * 0.9;
            let y = frame.top + TOP + LEGEND_LINE * (down as f64 + 0.5);
            page.path(&[(x, y - 4.0), (x + 28.0, y - 4.0)], line.colour, line.dashed);
            page.text((x + 36.0, y), TEXT_SIZE, Anchor::Start, &line.label);
        }
    }
}

/// What is left of `frame` for the data.
pub(super) fn plot_area(frame: Frame) -> Frame {
    Frame {
        left: frame.left + LEFT,
        top: frame.top + TOP,
        width: frame.width - LEFT - 12.0,
        height: frame.height - TOP - BOTTOM,
    }
}

/// Horizontal lines with their labels, and the name of the axis.
pub(super) fn draw_grid(page: &mut Svg, area: Frame, y: &Axis) {
    for (value, name) in &y.ticks {
        let (_, top) = place(area, (0.0, y.place(*value)));
        page.line((area.left, top), (area.right(), top), GRID);
        page.text((area.left - 6.0, top + 4.0), TEXT_SIZE, Anchor::End, name);
    }
    page.upright_text((area.left - 46.0, area.top + area.height / 2.0), TEXT_SIZE, &y.label);
}

/// From shares of the axes to pixels.
pub(super) fn place(area: Frame, (x, y): (f64, f64)) -> (f64, f64) {
    (area.left + x * area.width, area.bottom() - y * area.height)
}
