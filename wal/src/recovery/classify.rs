//! What a place where reading stopped means: one pure function, one truth table.
//!
//! Reading follows the chain of frames through the segments. Where the next expected frame cannot be
//! read, three facts decide:
//!
//! - [`Stop`]: what stands at that place.
//! - [`Behind`]: how the segments behind relate to the expected position.
//! - proof: whether an intact frame further on says that the expected one was durable, that is,
//!   acknowledged. Two groups are in flight at a time, so an intact frame behind a damaged one
//!   proves nothing by its mere existence.

use std::fmt;

/// What stands where the next frame was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// The file has no room for another frame.
    EndOfSegment,
    /// The mark of a clean close.
    EndMark,
    /// Zeros: never written.
    Blank,
    /// What an earlier life of a recycled file left.
    Stale,
    /// None of these: half-written, damaged, or the middle of what an earlier life left.
    Torn,
    /// The segment's header is half-written or damaged, so nothing in it can be read.
    HeaderDamaged,
}

/// What the segments behind say about the expected position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Behind {
    /// There are none that can be read.
    Nothing,
    /// The next segment of the same opening starts exactly there.
    Continues,
    /// The next segment of the same opening starts later.
    SkipsAhead,
    /// The next segment of the same opening starts earlier.
    Overlaps,
    /// A later opening recovered the log and went on exactly there.
    SealedHere,
    /// A later opening recovered the log and went on later: it read what is missing now.
    SealedLater,
}

/// How the log ended before this opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The folder held no log.
    Empty,
    /// The log was closed.
    Clean,
    /// The process ended without closing, and nothing that could be a half-written frame follows.
    Unclean,
    /// The process ended without closing, and the last bytes are no frame: half-written and never
    /// acknowledged, or left by an earlier life of a recycled file, which looks the same. They and
    /// whatever stands behind them are dropped for good.
    TornTail,
}

/// Why what is missing was acknowledged once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Corruption {
    /// A later frame says that it was durable.
    AcknowledgedFrameLost,
    /// A later opening has read it.
    RecoveredFrameLost,
    /// Two segments claim it.
    SegmentsOverlap,
    /// Frames stand behind the mark of a clean close.
    FramesAfterEndMark,
    /// Epochs go back from one segment to the next.
    EpochsOutOfOrder,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AcknowledgedFrameLost => "a later frame proves that it was acknowledged",
            Self::RecoveredFrameLost => "a later segment proves that it was recovered before",
            Self::SegmentsOverlap => "the next segment claims it too",
            Self::FramesAfterEndMark => "segments follow the mark of a clean close",
            Self::EpochsOutOfOrder => "epochs go back from one segment to the next",
        })
    }
}

/// What to do at a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    /// Go on in the segment behind.
    GoOn,
    /// The log ends here; whatever stands behind is void.
    End(Ending),
    /// Refuse to open.
    Refuse(Corruption),
}

/// The truth table. Every combination is decided by exactly one row; a test walks them all.
pub(crate) const fn classify(stop: Stop, behind: Behind, proof: bool) -> Decision {
    use Decision::{End, GoOn, Refuse};
    match (stop, behind, proof) {
        // The chain is whole. What stands at the stop is padding, stale, or void by a seal.
        (_, Behind::Continues | Behind::SealedHere, _) => GoOn,
        // An earlier recovery read frames that are gone now.
        (_, Behind::SealedLater, _) => Refuse(Corruption::RecoveredFrameLost),
        (_, Behind::Overlaps, _) => Refuse(Corruption::SegmentsOverlap),
        // Something later knew the frame as durable: flipped bit, lost write, missing segment.
        (_, Behind::Nothing | Behind::SkipsAhead, true) => {
            Refuse(Corruption::AcknowledgedFrameLost)
        }
        (Stop::EndMark, Behind::Nothing, false) => End(Ending::Clean),
        (Stop::EndMark, Behind::SkipsAhead, false) => Refuse(Corruption::FramesAfterEndMark),
        // Nothing was being written, or not a byte of it arrived.
        (Stop::EndOfSegment | Stop::Blank | Stop::Stale, Behind::Nothing, false) => {
            End(Ending::Unclean)
        }
        (Stop::Torn | Stop::HeaderDamaged, Behind::Nothing, false) => End(Ending::TornTail),
        // The group here never arrived while the one that opens the next segment did; neither was
        // acknowledged.
        (
            Stop::EndOfSegment | Stop::Blank | Stop::Stale | Stop::Torn | Stop::HeaderDamaged,
            Behind::SkipsAhead,
            false,
        ) => End(Ending::TornTail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Corruption::*;

    const STOPS: [Stop; 6] = [
        Stop::EndOfSegment,
        Stop::EndMark,
        Stop::Blank,
        Stop::Stale,
        Stop::Torn,
        Stop::HeaderDamaged,
    ];
    const BEHINDS: [Behind; 6] = [
        Behind::Nothing,
        Behind::Continues,
        Behind::SkipsAhead,
        Behind::Overlaps,
        Behind::SealedHere,
        Behind::SealedLater,
    ];

    /// The table again, as `docs/formats/wal.md` has it: a label, the words of the page, and what
    /// they stand for.
    struct Row {
        label: &'static str,
        words: [&'static str; 4],
        stops: &'static [Stop],
        behinds: &'static [Behind],
        proofs: &'static [bool],
        decision: Decision,
    }

    const WHATEVER: &[bool] = &[false, true];
    const NO_MARK: &[Stop] =
        &[Stop::EndOfSegment, Stop::Blank, Stop::Stale, Stop::Torn, Stop::HeaderDamaged];

    const ROWS: [Row; 10] = [
        Row {
            label: "continues",
            words: [
                "anything",
                "next segment of the opening starts exactly there",
                "any",
                "go on there",
            ],
            stops: &STOPS,
            behinds: &[Behind::Continues],
            proofs: WHATEVER,
            decision: Decision::GoOn,
        },
        Row {
            label: "sealed-here",
            words: [
                "anything",
                "a later opening starts exactly there",
                "any",
                "go on there; the rest is void",
            ],
            stops: &STOPS,
            behinds: &[Behind::SealedHere],
            proofs: WHATEVER,
            decision: Decision::GoOn,
        },
        Row {
            label: "sealed-later",
            words: [
                "anything",
                "a later opening starts later",
                "any",
                "corrupt: recovered before, gone now",
            ],
            stops: &STOPS,
            behinds: &[Behind::SealedLater],
            proofs: WHATEVER,
            decision: Decision::Refuse(RecoveredFrameLost),
        },
        Row {
            label: "overlap",
            words: [
                "anything",
                "next segment of the opening starts earlier",
                "any",
                "corrupt: two segments claim one frame",
            ],
            stops: &STOPS,
            behinds: &[Behind::Overlaps],
            proofs: WHATEVER,
            decision: Decision::Refuse(SegmentsOverlap),
        },
        Row {
            label: "acknowledged-lost",
            words: [
                "anything",
                "nothing, or a segment of the opening that starts later",
                "yes",
                "corrupt: flipped bit, lost write or missing segment in front of the durable \
                 position",
            ],
            stops: &STOPS,
            behinds: &[Behind::Nothing, Behind::SkipsAhead],
            proofs: &[true],
            decision: Decision::Refuse(AcknowledgedFrameLost),
        },
        Row {
            label: "clean",
            words: ["end mark", "nothing", "no", "clean end"],
            stops: &[Stop::EndMark],
            behinds: &[Behind::Nothing],
            proofs: &[false],
            decision: Decision::End(Ending::Clean),
        },
        Row {
            label: "after-end-mark",
            words: [
                "end mark",
                "a segment of the opening that starts later",
                "no",
                "corrupt: frames after a clean close",
            ],
            stops: &[Stop::EndMark],
            behinds: &[Behind::SkipsAhead],
            proofs: &[false],
            decision: Decision::Refuse(FramesAfterEndMark),
        },
        Row {
            label: "between-writes",
            words: [
                "end of file, zeros, frame of an earlier life",
                "nothing",
                "no",
                "end: crash between writes",
            ],
            stops: &[Stop::EndOfSegment, Stop::Blank, Stop::Stale],
            behinds: &[Behind::Nothing],
            proofs: &[false],
            decision: Decision::End(Ending::Unclean),
        },
        Row {
            label: "torn-tail",
            words: ["other bytes, or a damaged header", "nothing", "no", "end: torn tail"],
            stops: &[Stop::Torn, Stop::HeaderDamaged],
            behinds: &[Behind::Nothing],
            proofs: &[false],
            decision: Decision::End(Ending::TornTail),
        },
        Row {
            label: "torn-before-intact",
            words: [
                "anything but an end mark",
                "a segment of the opening that starts later",
                "no",
                "end: torn tail; what stands behind is void",
            ],
            stops: NO_MARK,
            behinds: &[Behind::SkipsAhead],
            proofs: &[false],
            decision: Decision::End(Ending::TornTail),
        },
    ];

    #[test]
    fn every_combination_is_decided_by_exactly_one_row() {
        for stop in STOPS {
            for behind in BEHINDS {
                for proof in [false, true] {
                    let matching: Vec<_> = ROWS
                        .iter()
                        .filter(|row| row.stops.contains(&stop))
                        .filter(|row| row.behinds.contains(&behind) && row.proofs.contains(&proof))
                        .collect();
                    let [row] = matching[..] else {
                        panic!("{stop:?} {behind:?} {proof}: {} rows", matching.len())
                    };
                    let decision = classify(stop, behind, proof);
                    assert_eq!(decision, row.decision, "{}: {stop:?} {behind:?}", row.label);
                }
            }
        }
    }

    #[test]
    fn the_page_has_the_same_rows_in_the_same_words() {
        let page = include_str!("../../../docs/formats/wal.md");
        let heading = "| row | what stands there |";
        let table = page.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
        let written: Vec<_> = table.take_while(|line| line.starts_with('|')).collect();
        let rendered = ROWS.map(|row| format!("| `{}` | {} |", row.label, row.words.join(" | ")));
        assert_eq!(written, rendered);
    }
}
