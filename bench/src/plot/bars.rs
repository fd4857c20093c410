//! Groups of bars with a legend; each bar carries its number.

use super::axis::Axis;
use super::lines::{draw_grid, place, plot_area};
use super::svg::{Anchor, Frame, Svg};

const TITLE_SIZE: u32 = 16;
const TEXT_SIZE: u32 = 12;
const NUMBER_SIZE: u32 = 10;
/// Share of a group's room that stays empty.
const GAP: f64 = 0.25;
const LEGEND_WIDTH: f64 = 190.0;

/// Bars that stand together, one for each entry of the legend; `None` leaves a hole.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) label: String,
    pub(crate) values: Vec<Option<f64>>,
}

/// A chart of bars.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    pub(crate) title: String,
    pub(crate) y: Axis,
    /// Name, colour and opacity of each bar of a group.
    pub(crate) legend: Vec<(String, &'static str, f64)>,
    pub(crate) groups: Vec<Group>,
}

impl Bars {
    /// Draws the chart, title and labels included, into `frame`.
    pub(crate) fn draw(&self, page: &mut Svg, frame: Frame) {
        let mut area = plot_area(frame);
        page.text((area.left, frame.top + 16.0), TITLE_SIZE, Anchor::Start, &self.title);
        self.draw_legend(page, area);
        area.top += 22.0;
        area.height -= 22.0;
        draw_grid(page, area, &self.y);
        let room = area.width / self.groups.len().max(1) as f64;
        for (index, group) in self.groups.iter().enumerate() {
            let left = area.left + room * index as f64;
            let middle = (left + room / 2.0, area.bottom() + 18.0);
            page.text(middle, TEXT_SIZE, Anchor::Middle, &group.label);
            self.draw_group(page, area, group, (left + room * GAP / 2.0, room * (1.0 - GAP)));
        }
    }

    fn draw_group(&self, page: &mut Svg, area: Frame, group: &Group, (left, room): (f64, f64)) {
        let width = room / self.legend.len().max(1) as f64;
        for (index, (value, (_, colour, opacity))) in
            group.values.iter().zip(&self.legend).enumerate()
        {
            let Some(value) = value else { continue };
            let (_, top) = place(area, (0.0, self.y.place(*value)));
            let left = left + width * index as f64;
            let bar = Frame { left, top, width: width * 0.92, height: area.bottom() - top };
            page.bar(bar, colour, *opacity);
            let middle = (left + width * 0.46, top - 4.0);
            page.text(middle, NUMBER_SIZE, Anchor::Middle, &format!("{value:.0}"));
        }
    }

    fn draw_legend(&self, page: &mut Svg, area: Frame) {
        for (index, (name, colour, opacity)) in self.legend.iter().enumerate() {
            let (left, top) = (area.left + LEGEND_WIDTH * index as f64, area.top - 2.0);
            page.bar(Frame { left, top, width: 12.0, height: 12.0 }, colour, *opacity);
            page.text((left + 18.0, top + 11.0), TEXT_SIZE, Anchor::Start, name);
        }
    }
}
