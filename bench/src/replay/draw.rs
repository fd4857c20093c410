//! The plots of a replay benchmark: what live traffic noticed, and what the replay got.

use super::Summary;
use super::summary::{Medians, System};
use crate::plot::{Axis, Bars, COLOURS, Frame, Group, INK, Line, Lines, Svg};

const PAGE_WIDTH: f64 = 1240.0;
const LATENCY_HEIGHT: f64 = 420.0;
const REPLAY_HEIGHT: f64 = 360.0;
const MARGIN: f64 = 16.0;

impl Summary {
    /// One page: a latency chart for each system on the same axes, and the replay speeds below.
    pub(crate) fn svg(&self) -> String {
        let mut page = Svg::new(PAGE_WIDTH, LATENCY_HEIGHT + REPLAY_HEIGHT + 3.0 * MARGIN);
        let width = (PAGE_WIDTH - MARGIN) / self.systems.len().max(1) as f64 - MARGIN;
        for (index, system) in self.systems.iter().enumerate() {
            let left = MARGIN + (width + MARGIN) * index as f64;
            let frame = Frame { left, top: MARGIN, width, height: LATENCY_HEIGHT };
            self.latency_chart(system).draw(&mut page, frame);
        }
        let (top, width) = (LATENCY_HEIGHT + 2.0 * MARGIN, PAGE_WIDTH - 2.0 * MARGIN);
        let frame = Frame { left: MARGIN, top, width, height: REPLAY_HEIGHT };
        self.replay_chart().draw(&mut page, frame);
        page.finish()
    }

    fn latency_chart(&self, system: &System) -> Lines {
        let points = || {
            let phases = self.systems.iter().flat_map(|system| &system.phases);
            phases.flat_map(|phase| &phase.curve)
        };
        let least = points().map(|(_, ms)| *ms).fold(f64::INFINITY, f64::min);
        let most = points().map(|(_, ms)| *ms).fold(0.0, f64::max);
        let widest = points().map(|(quantile, _)| *quantile).fold(0.9, f64::max);
        let live = system.phases.iter().filter(|phase| phase.live).enumerate();
        Lines {
            title: format!("{}: request-reply latency", system.name),
            x: Axis::quantiles("percentile", widest),
            y: Axis::logarithmic("milliseconds since due", least.min(most), most),
            lines: live.map(|(index, phase)| line(index, phase)).collect(),
        }
    }

    fn replay_chart(&self) -> Bars {
        let mut legend = Vec::new();
        for (system, colour) in self.systems.iter().zip(COLOURS) {
            legend.push((format!("{}, alone", system.name), colour, 1.0));
            legend.push((format!("{}, live traffic", system.name), colour, 0.5));
        }
        legend.push(("raw GETs".into(), INK, 0.5));
        let loads = self.systems.first().map_or(&[][..], |system| &system.phases);
        let loads = loads.iter().filter(|phase| phase.replays > 0 && !phase.live);
        let groups: Vec<Group> = loads.map(|load| self.group(load)).collect();
        let values = groups.iter().flat_map(|group| group.values.iter().flatten());
        let most = values.copied().fold(1.0, f64::max);
        let title = "Replay speed, all consumers together".into();
        Bars { title, y: Axis::linear("MiB/s", most), legend, groups }
    }

    fn group(&self, load: &Medians) -> Group {
        let speed = |system: &System, live| {
            system.load(load.replays, load.nice, live)?.value("replay_mib_s")
        };
        let of_system = |system| [speed(system, false), speed(system, true)];
        let mut values: Vec<_> = self.systems.iter().flat_map(of_system).collect();
        values.push(self.raw_gets_mib_s.get(&load.replays).map(|spread| spread.median));
        Group { label: load.label(), values }
    }
}

/// Un-niced clients are dashed.
fn line(index: usize, phase: &Medians) -> Line {
    let colour = match index.checked_sub(1) {
        None => INK,
        Some(load) => COLOURS[load % COLOURS.len()],
    };
    let dashed = phase.replays > 0 && phase.nice == 0;
    Line { label: phase.label(), points: phase.curve.clone(), colour, dashed }
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::summary;

    #[test]
    fn a_page_has_a_chart_for_each_system_and_a_legend() {
        let page = summary().svg();
        for text in ["antiphon: request-reply latency", "kafka: request", "raw GETs", "percentile"]
        {
            assert!(page.contains(text), "{text}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}
