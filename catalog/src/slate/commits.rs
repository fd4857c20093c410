//! Turns and commits: how every change is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_common::{BrokerEpoch, Lsn, ProducerId};
use tokio::sync::OwnedMutexGuard;

use super::SlateCatalog;
use super::database::prefix_range;
use super::state::State;
use super::transaction::Transaction;
use crate::{
    BrokerConfigRow, BrokerRow, CatalogError, ConfigScope, Counter, CounterRow, ObjectRow,
};

impl SlateCatalog {
    /// Waits for this call's turn to plan a change.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<State> {
        Arc::clone(&self.state).lock_owned().await
    }

    /// Applies a change and ends the turn. Not durable yet. The work is done by a task of its own:
    /// the database's copy and the one in memory change together even if the caller goes away.
    pub(super) async fn apply(
        &self,
        operation: &'static str,
        mut turn: OwnedMutexGuard<State>,
        transaction: Transaction,
    ) -> Result<(), CatalogError> {
        let database = Arc::clone(&self.database);
        let task = tokio::spawn(async move {
            database.write(operation, transaction.batch).await?;
            turn.apply(transaction.effects);
            Ok(())
        });
        let fault = |source| CatalogError::Internal { operation, source: Box::new(source) };
        task.await.unwrap_or_else(|source| Err(fault(source)))
    }

    /// Applies a change, ends the turn, and waits until the change is durable.
    pub(super) async fn commit(
        &self,
        operation: &'static str,
        turn: OwnedMutexGuard<State>,
        transaction: Transaction,
    ) -> Result<(), CatalogError> {
        self.apply(operation, turn, transaction).await?;
        self.database.wait_until_durable(operation).await
    }

    pub(super) async fn allocate_producer_ids_now(
        &self,
        count: u32,
    ) -> Result<ProducerId, CatalogError> {
        let turn = self.turn().await;
        let first = turn.next(Counter::ProducerIds);
        let mut transaction = Transaction::default();
        let next = first.saturating_add(u64::from(count));
        // Producer ids are signed on Kafka's wire.
        if i64::try_from(next).is_err() {
            return Err(CatalogError::IdsExhausted { what: "producer ids" });
        }
        transaction.put_counter(CounterRow { counter: Counter::ProducerIds, next });
        self.commit("allocate_producer_ids", turn, transaction).await?;
        Ok(ProducerId(first as i64))
    }

    pub(super) async fn mark_clean_stop_now(&self, flushed_lsn: Lsn) -> Result<(), CatalogError> {
        let turn = self.turn().await;
        let flushed_lsn = flushed_lsn.max(turn.broker.flushed_lsn);
        let mut transaction = Transaction::default();
        transaction.put_broker(BrokerRow { flushed_lsn, clean_stop: true, ..turn.broker.clone() });
        self.commit("mark_clean_stop", turn, transaction).await
    }

    pub(super) async fn confirm_ownership_now(&self) -> Result<(), CatalogError> {
        let turn = self.turn().await;
        let mut transaction = Transaction::default();
        transaction.put_broker(turn.broker.clone());
        self.commit("confirm_ownership", turn, transaction).await
    }

    pub(super) async fn set_broker_configs_now(
        &self,
        scope: ConfigScope,
        configs: BTreeMap<String, String>,
    ) -> Result<(), CatalogError> {
        const OPERATION: &str = "set_broker_configs";
        let turn = self.turn().await;
        let mut transaction = Transaction::default();
        let range = prefix_range(BrokerConfigRow::key_of(scope, ""));
        let old = self.database.scan::<BrokerConfigRow>(OPERATION, range, usize::MAX).await?;
        for row in old.iter().filter(|row| !configs.contains_key(&row.name)) {
            transaction.remove(row);
        }
        for (name, value) in configs {
            transaction.put(&BrokerConfigRow { scope, name, value });
        }
        self.commit(OPERATION, turn, transaction).await
    }

    /// Whether the objects of a commit are all known already. Refuses a mixture, and objects that
    /// another run of the broker wrote.
    pub(super) async fn is_repeated(
        &self,
        operation: &'static str,
        objects: &[ObjectRow],
    ) -> Result<bool, CatalogError> {
        let mut known = Vec::new();
        for object in objects {
            self.check_epoch(object)?;
            let key = ObjectRow::key_of(object.object_id);
            known.extend(self.database.get::<ObjectRow>(operation, key).await?);
        }
        match known.first() {
            None => Ok(false),
            Some(_) if known.len() == objects.len() => Ok(true),
            Some(row) => Err(CatalogError::PartlyCommitted { object_id: row.object_id }),
        }
    }

    fn check_epoch(&self, object: &ObjectRow) -> Result<(), CatalogError> {
        let (found, current): (BrokerEpoch, _) = (object.broker_epoch, self.broker_epoch);
        if object.broker_id == self.broker_id && found == current {
            return Ok(());
        }
        Err(CatalogError::StaleEpoch { object_id: object.object_id, found, current })
    }
}
