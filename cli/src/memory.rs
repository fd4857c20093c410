//! What the budgets add up to, and whether the machine has that much.
//!
//! A broker whose budgets exceed its machine promises what it cannot keep: it runs until all of them
//! are full at once, and is then killed by the kernel, at the worst time. So:
//! - What the operator leaves open is fitted to the machine: at most an eighth of its memory for each
//!   large budget, a sixteenth for the tail cache.
//! - What the operator sets is taken as it is, and refused at start, with exit code 1, if the sum does
//!   not fit.
//! - If even the fitted defaults do not fit, the machine is tiny and nobody has promised anything: a
//!   warning, because a broker that is hardly used may well live there.

use std::path::{Path, PathBuf};

use antiphon_storage::SEGMENT_ROWS_MEMORY_BYTES;

const MIB: u64 = 1 << 20;
/// Memory of the process that no budget counts: code, threads, and connections at rest.
const BASE_BYTES: u64 = 64 * MIB;
/// Bounds that are not set by anybody: section indexes 8 MiB, the catalog's caches 16 + 8 MiB and
/// unflushed rows 64 MiB, free slabs and buffers of the log and of local reads 32 + 16 MiB.
const FIXED_BYTES: u64 = (8 + 16 + 8 + 64 + 32 + 16) * MIB;
/// Rewriting history: what compaction and merging gather at a time.
const REWRITING_BYTES: u64 = 96 * MIB;

/// The large budgets, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budgets {
    pub(crate) tail: u64,
    pub(crate) tail_cache: u64,
    pub(crate) requests: u64,
    pub(crate) responses: u64,
    pub(crate) cache: u64,
}

/// What the operator said about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) tail: Option<u64>,
    pub(crate) tail_cache: Option<u64>,
    pub(crate) requests: Option<u64>,
    pub(crate) responses: Option<u64>,
    pub(crate) cache: Option<u64>,
}

impl Wishes {
    fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// Budgets that were compared with the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPlan {
    pub(crate) budgets: Budgets,
    /// What all of them add up to, fixed ones included.
    pub(crate) sum: u64,
    /// What there is, if that is known.
    pub(crate) machine: Option<u64>,
}

impl MemoryPlan {
    /// Whether the machine is too small for what nobody asked for.
    pub(crate) fn exceeds_machine(&self) -> bool {
        self.machine.is_some_and(|machine| self.sum > machine)
    }
}

impl Budgets {
    fn fitted(wishes: Wishes, machine: Option<u64>) -> Self {
        let fit = |wish: Option<u64>, default: u64, share: u64, least: u64| {
            let there = machine.map_or(u64::MAX, |machine| machine / share);
            wish.unwrap_or(default.min(there).max(least))
        };
        Self {
            tail: fit(wishes.tail, 256 * MIB, 8, 16 * MIB),
            tail_cache: fit(wishes.tail_cache, 1024 * MIB, 16, 0),
            requests: fit(wishes.requests, 256 * MIB, 8, 16 * MIB),
            responses: fit(wishes.responses, 256 * MIB, 8, 16 * MIB),
            cache: fit(wishes.cache, 64 * MIB, 32, 4 * MIB),
        }
    }

    /// Everything added up. Blocks in flight may be another three quarters of their cache.
    fn sum(&self) -> u64 {
        let reads = self.cache.saturating_add(self.cache / 4 * 3);
        let set = [self.tail, self.tail_cache, self.requests, self.responses, reads];
        let fixed = [BASE_BYTES, FIXED_BYTES, REWRITING_BYTES, SEGMENT_ROWS_MEMORY_BYTES];
        set.into_iter().chain(fixed).fold(0, u64::saturating_add)
    }
}

/// Plans the budgets for a machine with `machine` bytes; the error is one line for a person.
pub(crate) fn plan(wishes: Wishes, machine: Option<u64>) -> Result<MemoryPlan, String> {
    let budgets = Budgets::fitted(wishes, machine);
    let plan = MemoryPlan { budgets, sum: budgets.sum(), machine };
    match machine {
        Some(machine) if plan.exceeds_machine() && wishes.any() => Err(format!(
            "the memory budgets add up to {} MiB and this machine has {} MiB; lower --tail-memory, \
             --tail-cache-memory, --request-memory, --response-memory or --cache-memory, or leave them to their defaults",
            plan.sum.div_ceil(MIB),
            machine / MIB,
        )),
        _ => Ok(plan),
    }
}

/// The memory that this process may use: the machine's, or what its control groups leave of it.
pub(crate) fn of_this_machine() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups, Path::new("/sys/fs/cgroup"));
    let limits = limits.iter().filter_map(|file| parse_limit(&std::fs::read_to_string(file).ok()?));
    let total = std::fs::read_to_string("/proc/meminfo").ok();
    limits.chain(total.as_deref().and_then(parse_total)).min()
}

/// Files that may limit a process in `groups` (`/proc/self/cgroup`): of its own control group and of
/// all around it, in versions 1 and 2.
fn limit_files(groups: &str, root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (folder, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            list if list.split(',').any(|one| one == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(group.ancestors().map(|group| folder.join(group).join(file)));
    }
    files
}

/// A limit as the kernel writes it; `max`, and version 1's giant number, are none.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < 1 << 60)
}

fn parse_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_large_machine_gets_the_defaults_and_a_small_one_its_share() {
        let plan_for = |machine| plan(Wishes::default(), Some(machine)).unwrap();
        let large = plan_for(16 * GIB);
        assert_eq!(large.budgets, plan(Wishes::default(), None).unwrap().budgets);
        assert_eq!(large.budgets.tail, 256 * MIB);
        let small = plan_for(GIB);
        assert_eq!((small.budgets.tail, small.budgets.cache), (128 * MIB, 32 * MIB));
        assert!(!small.exceeds_machine(), "{small:?}");
        assert!(plan_for(200 * MIB).exceeds_machine(), "tiny: a warning, no refusal");
    }

    #[test]
    fn what_is_set_and_does_not_fit_is_refused_in_one_line() {
        let wishes = Wishes { tail: Some(8 * GIB), ..Wishes::default() };
        let refusal = plan(wishes, Some(4 * GIB)).unwrap_err();
        assert!(refusal.contains("this machine has 4096 MiB; lower --tail-memory"), "{refusal}");
        assert!(!refusal.contains('\n'));
        assert_eq!(plan(wishes, Some(16 * GIB)).unwrap().budgets.tail, 8 * GIB);
        assert_eq!(plan(wishes, None).unwrap().budgets.tail, 8 * GIB, "nobody knows better");
    }

    #[test]
    fn limits_are_looked_for_in_the_group_and_around_it() {
        let files = limit_files("0::/a/b\n", Path::new("/g"));
        let expected = ["/g/a/b/memory.max", "/g/a/memory.max", "/g/memory.max"];
        assert_eq!(files, expected.map(PathBuf::from));
        let files = limit_files("3:cpu,memory:/x\n2:cpuset:/y\nnonsense\n", Path::new("/g"));
        let expected = ["/g/memory/x/memory.limit_in_bytes", "/g/memory/memory.limit_in_bytes"];
        assert_eq!(files, expected.map(PathBuf::from));
    }

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_limit("1073741824\n"), Some(GIB));
        assert_eq!(parse_limit("max\n"), None);
        assert_eq!(parse_limit("9223372036854771712\n"), None);
        assert_eq!(parse_total("MemTotal:        1048576 kB\nMemFree: 5 kB\n"), Some(GIB));
        assert!(of_this_machine().is_some_and(|bytes| bytes > 64 * MIB));
    }
}
