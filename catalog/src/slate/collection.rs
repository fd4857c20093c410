//! When which of the database's files are looked through for garbage.
//!
//! Garbage comes with tables: the log files that a table replaces, the tables that a compaction
//! merged, the manifests and plans of before. A *round* looks at each kind once. It begins when the
//! newest garbage is old enough to go, so that one round is enough after the last write; and its
//! looks are far apart, because together they are as many requests as an idle broker has in an hour.
//!
//! Pure: the caller brings the time since it started.

use std::time::Duration;

/// Files younger than this are kept: whoever opened the catalog for inspection may need them.
pub(super) const COLLECTION_AGE_MIN: Duration = Duration::from_secs(600);
/// Between the beginnings of two rounds: each lists every file of the database.
const ROUND_INTERVAL: Duration = Duration::from_secs(3_600);
/// Between two looks of a round. The dearest takes eight requests.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);

const _: () = assert!(LOOK_INTERVAL.as_secs() * 4 <= ROUND_INTERVAL.as_secs());

/// A kind of file, each in a folder of its own, in the order of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    Manifests,
    Log,
    Tables,
    Compactions,
}

impl Files {
    fn next(self) -> Option<Self> {
        match self {
            Self::Manifests => Some(Self::Log),
            Self::Log => Some(Self::Tables),
            Self::Tables => Some(Self::Compactions),
            Self::Compactions => None,
        }
    }
}

/// What is looked at next, and when.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    next: Option<(Duration, Files)>,
    round_began: Option<Duration>,
    /// When garbage was made last.
    newest: Option<Duration>,
}

impl Schedule {
    /// Earlier runs left garbage: a round begins at `at`.
    pub(super) fn round_at(&mut self, at: Duration) {
        self.next = Some((at, Files::Manifests));
    }

    /// Files became garbage.
    pub(super) fn garbage_made(&mut self, now: Duration) {
        self.newest = Some(now);
        if self.next.is_none() {
            self.plan_round(now);
        }
    }

    fn plan_round(&mut self, newest: Duration) {
        // What is as old as the age that is asked for is still too young.
        let old_enough = newest + COLLECTION_AGE_MIN + Duration::from_secs(1);
        let next_round = self.round_began.map_or(Duration::ZERO, |began| began + ROUND_INTERVAL);
        self.round_at(old_enough.max(next_round));
    }

    /// How long until the next look; `None` if nothing is to be looked at.
    pub(super) fn until_due(&self, now: Duration) -> Option<Duration> {
        self.next.map(|(due, _)| due.saturating_sub(now))
    }

    /// What is to be looked at now.
    pub(super) fn take_due(&mut self, now: Duration) -> Option<Files> {
        let (_, files) = self.next.filter(|(due, _)| *due <= now)?;
        if files == Files::Manifests {
            self.round_began = Some(now);
        }
        self.next = files.next().map(|next| (now + LOOK_INTERVAL, next));
        if self.next.is_none() {
            self.plan_another();
        }
        Some(files)
    }

    /// A round that found garbage too young leaves it to another.
    fn plan_another(&mut self) {
        let (Some(newest), Some(began)) = (self.newest, self.round_began) else { return };
        if newest + COLLECTION_AGE_MIN >= began {
            self.plan_round(newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ROUND: [Files; 4] = [Files::Manifests, Files::Log, Files::Tables, Files::Compactions];

    /// Follows the schedule until it is empty; what was looked at when.
    fn looks(schedule: &mut Schedule, mut now: Duration) -> Vec<(Duration, Files)> {
        let mut looks = Vec::new();
        while let Some(wait) = schedule.until_due(now) {
            now += wait;
            looks.push((now, schedule.take_due(now).expect("it is due")));
        }
        looks
    }

    #[test]
    fn nothing_is_looked_at_without_garbage() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.until_due(Duration::ZERO), None);
        assert_eq!(schedule.take_due(ROUND_INTERVAL * 100), None);
    }

    #[test]
    fn one_round_goes_through_all_kinds_when_the_newest_garbage_is_old_enough() {
        let mut schedule = Schedule::default();
        schedule.garbage_made(5 * SECOND);
        assert_eq!(schedule.take_due(5 * SECOND + COLLECTION_AGE_MIN), None, "too young");
        let looks = looks(&mut schedule, 6 * SECOND);
        assert_eq!(looks.iter().map(|(_, files)| *files).collect::<Vec<_>>(), ROUND);
        assert!(looks[0].0 > 5 * SECOND + COLLECTION_AGE_MIN);
        for pair in looks.windows(2) {
            assert_eq!(pair[1].0 - pair[0].0, LOOK_INTERVAL);
        }
    }

    #[test]
    fn garbage_that_a_round_found_too_young_gets_another_an_hour_later() {
        let mut schedule = Schedule::default();
        schedule.garbage_made(Duration::ZERO);
        let began = COLLECTION_AGE_MIN + SECOND;
        assert_eq!(schedule.take_due(began), Some(Files::Manifests));
        schedule.garbage_made(began + SECOND);
        let looks = looks(&mut schedule, began + SECOND);
        let kinds: Vec<_> = looks.iter().map(|(_, files)| *files).collect();
        assert_eq!(kinds, [&ROUND[1..], &ROUND[..]].concat());
        assert_eq!(looks[3].0, began + ROUND_INTERVAL);
    }

    #[test]
    fn what_earlier_runs_left_is_looked_at_once() {
        let mut schedule = Schedule::default();
        schedule.round_at(120 * SECOND);
        let looks = looks(&mut schedule, Duration::ZERO);
        assert_eq!((looks.len(), looks[0]), (4, (120 * SECOND, Files::Manifests)));
    }

    #[test]
    fn a_busy_catalog_is_looked_through_once_an_hour() {
        let mut schedule = Schedule::default();
        let (mut rounds, day) = (0, 24 * 3_600);
        for now in (0..day).map(Duration::from_secs) {
            schedule.garbage_made(now);
            if schedule.take_due(now) == Some(Files::Manifests) {
                rounds += 1;
            }
        }
        assert!((22..=24).contains(&rounds), "{rounds} rounds a day");
    }
}
