//! Charts as SVG, as few kinds as the benchmarks need: lines over two axes, and groups of bars.
//!
//! A plotting crate would be the largest dependency of the benchmarks, for two pictures.

mod axis;
mod bars;
mod lines;
mod svg;

pub(crate) use axis::Axis;
pub(crate) use bars::{Bars, Group};
pub(crate) use lines::{Line, Lines};
pub(crate) use svg::{Frame, Svg};

/// Colours that people with any colour vision tell apart (Paul Tol's "bright" scheme, 2021).
pub(crate) const COLOURS: [&str; 6] =
    ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377"];
/// What everything else is compared with.
pub(crate) const INK: &str = "#333333";
