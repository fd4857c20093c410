//! The few shapes of SVG that a chart is made of.

use std::fmt::Write;

/// A rectangle on the page, in pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Frame {
    pub(crate) fn right(&self) -> f64 {
        self.left + self.width
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// Where a text begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

impl Anchor {
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// A page being drawn.
#[derive(Debug)]
pub(crate) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub(crate) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str) {
        let _ = writeln!(
            self.body,
            "<line x1='{x1:.1}' y1='{y1:.1}' x2='{x2:.1}' y2='{y2:.1}' stroke='{colour}'/>"
        );
    }

    pub(crate) fn path(&mut self, points: &[(f64, f64)], colour: &str, dashed: bool) {
        let dash = if dashed { " stroke-dasharray='6 4'" } else { "" };
        let points: String = points.iter().map(|(x, y)| format!("{x:.1},{y:.1} ")).collect();
        let _ = writeln!(
            self.body,
            "<polyline points='{}' fill='none' stroke='{colour}' stroke-width='2'{dash}/>",
            points.trim_end()
        );
    }

    pub(crate) fn bar(&mut self, frame: Frame, colour: &str, opacity: f64) {
        let Frame { left, top, width, height } = frame;
        let _ = writeln!(
            self.body,
            "<rect x='{left:.1}' y='{top:.1}' width='{width:.1}' height='{height:.1}' \
             fill='{colour}' fill-opacity='{opacity}'/>"
        );
    }

    pub(crate) fn text(&mut self, (x, y): (f64, f64), size: u32, anchor: Anchor, text: &str) {
        let (anchor, text) = (anchor.name(), escaped(text));
        let _ = writeln!(
            self.body,
            "<text x='{x:.1}' y='{y:.1}' font-size='{size}' text-anchor='{anchor}'>{text}</text>"
        );
    }

    /// Text that reads upwards, centred on the point.
    pub(crate) fn upright_text(&mut self, (x, y): (f64, f64), size: u32, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            "<text x='{x:.1}' y='{y:.1}' font-size='{size}' text-anchor='middle' \
             transform='rotate(-90 {x:.1} {y:.1})'>{text}</text>"
        );
    }

    /// The finished page.
    pub(crate) fn finish(self) -> String {
        let Self { width, height, body } = self;
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' \
             width='{width}' height='{height}' font-family='sans-serif' fill='#222'>\n\
             <rect width='{width}' height='{height}' fill='white'/>\n{body}</svg>\n"
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_the_page() {
        let mut page = Svg::new(10.0, 10.0);
        page.text((1.0, 2.0), 12, Anchor::End, "a < b & c");
        assert!(page.finish().contains("text-anchor='end'>a &lt; b &amp; c</text>"));
    }
}
