//! Work in the background of a process: what rewrites, deletes and looks through history.

use std::time::Duration;

use antiphon_common::Offset;

use super::{Done, Life, TASKS_MAX, Task};
use crate::broker::expires;
use crate::model::Checked;

impl Life<'_> {
    /// Both processes flush, if there are two: only the one that owns the store may succeed.
    pub(super) fn flush(&mut self) {
        if let Some(zombie) = &self.zombie {
            let (storage, unflushed) =
                (zombie.storage.clone(), zombie.storage.stats().unflushed_bytes);
            self.spawn(async move {
                let result = storage.flush().await;
                Done::FlushedByZombie { unflushed, result }
            });
        }
        let storage = self.broker.storage.clone();
        self.spawn(async move { Done::Flushed(storage.flush().await) });
    }

    pub(super) fn delete(&mut self) {
        let partition = self.world.dice.index(self.broker.logs.len());
        let model = &mut self.world.partitions[partition];
        let (start, end) = (model.log_start(), model.high_watermark());
        let asked = start + self.world.dice.below((end - start) as u64 / 2 + 1) as i64;
        model.log_start_max = model.log_start_max.max(asked);
        let log = self.broker.logs[partition].clone();
        self.spawn(async move {
            let result = log.delete_records(Offset(asked)).await;
            Done::Trimmed { asked, partition, result }
        });
    }

    /// Expiry, and the deletion of objects that are no longer used.
    pub(crate) fn retain(&mut self) {
        // Only history expires, but a flush that is under way may add to it.
        for model in self.world.partitions.iter_mut().filter(|model| expires(model.index)) {
            model.log_start_max = model.log_start_max.max(model.high_watermark());
        }
        let storage = self.broker.storage.clone();
        self.spawn(async move {
            storage.enforce_retention().await;
            storage.delete_due_objects().await;
            Done::Kept
        });
    }

    pub(super) fn merge(&mut self) {
        let storage = self.broker.storage.clone();
        self.spawn(async move {
            storage.merge().await;
            Done::Merged(storage.stats().merge.objects)
        });
    }

    /// Both processes compact, if there are two: only the one that owns the store may succeed.
    pub(super) fn compact(&mut self) {
        if let Some(zombie) = &self.zombie {
            let storage = zombie.storage.clone();
            self.spawn_compaction(async move {
                let rounds = storage.stats().compaction.rounds;
                storage.compact().await;
                Done::CompactedByZombie { rounds: storage.stats().compaction.rounds - rounds }
            });
        }
        let storage = self.broker.storage.clone();
        self.spawn_compaction(async move {
            storage.compact().await;
            Done::Compacted(storage.stats().compaction)
        });
    }

    /// Compacts everything that may be; no fault is left that could keep it from that.
    pub(crate) async fn compact_all(&mut self) -> Checked {
        let storage = self.broker.storage.clone();
        self.spawn_compaction(async move {
            storage.compact().await;
            Done::Compacted(storage.stats().compaction)
        });
        self.finish_tasks().await
    }

    /// Waits for everything that is under way.
    pub(crate) async fn finish_tasks(&mut self) -> Checked {
        while !self.tasks.is_empty() {
            self.world.pass(Duration::from_millis(5)).await;
            self.observe()?;
            self.harvest().await?;
        }
        Ok(())
    }

    pub(super) fn spawn_compaction(&mut self, task: impl Future<Output = Done> + Send + 'static) {
        let before = self.tasks.len();
        self.spawn(task);
        self.tasks[before..].iter_mut().for_each(|task| task.compacts = true);
    }

    /// Both processes sweep, if there are two: one that was overtaken knows the bucket's past only.
    pub(super) fn sweep(&mut self) {
        let zombie = self.zombie.as_ref().map(|zombie| zombie.storage.clone());
        for storage in zombie.into_iter().chain([self.broker.storage.clone()]) {
            self.spawn(async move { Done::Swept(storage.sweep().await) });
        }
    }

    pub(super) fn spawn(&mut self, task: impl Future<Output = Done> + Send + 'static) {
        if self.tasks.len() < TASKS_MAX {
            let (generation, handle) = (self.generation, tokio::spawn(task));
            self.tasks.push(Task { generation, compacts: false, handle });
        }
    }
}
