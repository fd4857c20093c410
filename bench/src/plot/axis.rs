//! From numbers to places.

/// One axis: a range, how it is stretched, and where it is labelled.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) ticks: Vec<(f64, String)>,
    from: f64,
    to: f64,
    stretch: fn(f64) -> f64,
}

impl Axis {
    /// From zero to a round number above `most`.
    pub(crate) fn linear(label: &str, most: f64) -> Self {
        let step = round_step(most / 5.0);
        let steps = (most / step).ceil().max(1.0);
        let ticks = (0..=steps as u32).map(|n| f64::from(n) * step);
        let ticks = ticks.map(|value| (value, plain(value))).collect();
        Self { label: label.into(), ticks, from: 0.0, to: steps * step, stretch: |value| value }
    }

    /// Logarithmic, from a 1, 2 or 5 at or below `least` to one at or above `most`.
    pub(crate) fn logarithmic(label: &str, least: f64, most: f64) -> Self {
        let (least, most) = (least.max(1e-6), most.max(least * 1.01).max(1e-5));
        let decades = least.log10().floor() as i32..=most.log10().ceil() as i32;
        let marks: Vec<f64> = decades
            .flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(decade)))
            .collect();
        let first = marks.iter().rposition(|mark| *mark <= least).unwrap_or(0);
        let last = marks.iter().position(|mark| *mark >= most).unwrap_or(marks.len() - 1);
        let ticks: Vec<_> = marks[first..=last].iter().map(|mark| (*mark, plain(*mark))).collect();
        let (from, to) = (marks[first], marks[last]);
        Self { label: label.into(), ticks, from, to, stretch: f64::log10 }
    }

    /// Quantiles, stretched so that each further nine takes the same room.
    pub(crate) fn quantiles(label: &str, most: f64) -> Self {
        let all = [(0.0, "0"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9")];
        let all = all.into_iter().chain([(0.9999, "99.99"), (0.99999, "99.999")]);
        let ticks = all.filter(|(quantile, _)| *quantile <= most);
        let ticks = ticks.map(|(quantile, name)| (quantile, name.into())).collect();
        Self { label: label.into(), ticks, from: 0.0, to: most, stretch: nines }
    }

    /// Where `value` lies between the ends: 0 to 1, clamped.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let at = self.stretch;
        ((at(value) - at(self.from)) / (at(self.to) - at(self.from))).clamp(0.0, 1.0)
    }
}

fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).max(1e-9).log10()
}

fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.max(1e-9).log10().floor());
    let digit = [1.0, 2.0, 5.0, 10.0].into_iter().find(|digit| digit * decade >= step);
    digit.unwrap_or(10.0) * decade
}

/// Without a tail of zeros or of rounding errors.
fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nine_takes_the_same_room() {
        let axis = Axis::quantiles("p", 0.999);
        let place = |quantile| axis.place(quantile);
        assert!((place(0.99) - place(0.9) - (place(0.9) - place(0.0))).abs() < 1e-9);
        assert_eq!((place(0.0), axis.ticks.last().unwrap().1.as_str()), (0.0, "99.9"));
    }

    #[test]
    fn a_logarithmic_axis_ends_at_round_numbers_around_its_values() {
        let axis = Axis::logarithmic("ms", 0.7, 33.0);
        let names: Vec<&str> = axis.ticks.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["0.5", "1", "2", "5", "10", "20", "50"]);
        assert_eq!((axis.place(0.5), axis.place(50.0), axis.place(500.0)), (0.0, 1.0, 1.0));
    }

    #[test]
    fn a_linear_axis_begins_at_zero() {
        let axis = Axis::linear("MiB/s", 930.0);
        assert_eq!((axis.place(0.0), axis.place(1000.0)), (0.0, 1.0));
        assert_eq!(axis.ticks.len(), 6);
    }
}
