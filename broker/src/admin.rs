//! Changes of topics and settings, one at a time: the catalog first, then the image in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon_catalog::{ConfigScope, Created, CreatedTopic, NewTopic};
use antiphon_common::TopicId;
use tracing::info;

use crate::broker::Broker;
use crate::config::TopicSettings;
use crate::topics::{Topic, check_name, names_collide};

/// A topic that somebody wants.
#[derive(Clone, Debug)]
pub(crate) struct TopicRequest {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) overrides: BTreeMap<String, String>,
    pub(crate) internal: bool,
}

/// Why a topic or setting did not change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    #[error("{0}")]
    InvalidTopic(String),
    #[error("Topic '{0}' already exists.")]
    Exists(String),
    #[error("{0}")]
    InvalidPartitions(String),
    #[error(transparent)]
    InvalidConfig(#[from] crate::config::InvalidConfig),
    #[error("{0}")]
    InvalidReplication(String),
    #[error("{0}")]
    InvalidAssignment(String),
    #[error("{0}")]
    InvalidRequest(String),
    #[error("{0}")]
    Policy(String),
    #[error("This server does not host this topic-partition.")]
    UnknownTopic,
    #[error("the catalog did not commit: {0}")]
    Catalog(#[from] antiphon_catalog::CatalogError),
}

impl Broker {
    /// Checks a request against what exists, without changing anything.
    pub(crate) fn check_topic(&self, request: &TopicRequest) -> Result<(), AdminError> {
        check_name(&request.name).map_err(AdminError::InvalidTopic)?;
        if self.topics().by_name(&request.name).is_some() {
            return Err(AdminError::Exists(request.name.clone()));
        }
        let clash = self.topics().all().into_iter().find(|t| names_collide(&t.name, &request.name));
        if let Some(clash) = clash {
            return Err(AdminError::InvalidTopic(format!(
                "Topic '{}' collides with existing topic: {}",
                request.name,
                clash.name.as_str()
            )));
        }
        if request.partitions < 1 {
            let reason = "Number of partitions must be larger than 0.".to_owned();
            return Err(AdminError::InvalidPartitions(reason));
        }
        crate::config::validate_overrides(&request.overrides)?;
        self.check_partition_limits(request.partitions)
    }

    fn check_partition_limits(&self, added: i32) -> Result<(), AdminError> {
        let limits = self.options().limits;
        let (_, existing) = self.topics().counts();
        let added = usize::try_from(added).unwrap_or(usize::MAX);
        if added > limits.partitions_per_request_max {
            return Err(AdminError::Policy(format!(
                "{added} partitions are more than the {} that one request may create",
                limits.partitions_per_request_max
            )));
        }
        if existing.saturating_add(added) > limits.partitions_max {
            return Err(AdminError::Policy(format!(
                "the cluster would have more than {} partitions",
                limits.partitions_max
            )));
        }
        Ok(())
    }

    /// Creates topics in one catalog transaction; answers in the order of the requests.
    pub(crate) async fn create_topics(
        &self,
        requests: Vec<TopicRequest>,
    ) -> Vec<Result<Arc<Topic>, AdminError>> {
        let _turn = self.change_turn.lock().await;
        let mut total = 0_i32;
        let checks: Vec<Result<(), AdminError>> = requests
            .iter()
            .map(|request| {
                self.check_topic(request)?;
                total = total.saturating_add(request.partitions);
                self.check_partition_limits(total)
            })
            .collect();
        let accepted: Vec<NewTopic> = requests
            .iter()
            .zip(&checks)
            .filter(|(_, check)| check.is_ok())
            .map(|(request, _)| new_topic(request))
            .collect();
        let created = if accepted.is_empty() {
            Ok(Vec::new())
        } else {
            self.catalog().create_topics(accepted).await
        };
        self.answer_created(requests, checks, created)
    }

    fn answer_created(
        &self,
        requests: Vec<TopicRequest>,
        checks: Vec<Result<(), AdminError>>,
        created: Result<Vec<Created>, antiphon_catalog::CatalogError>,
    ) -> Vec<Result<Arc<Topic>, AdminError>> {
        let mut outcomes = created.map(Vec::into_iter);
        let answers = requests.into_iter().zip(checks).map(|(request, check)| {
            check?;
            match &mut outcomes {
                Ok(outcomes) => match outcomes.next() {
                    Some(Created::Created(created)) => Ok(self.install_topic(created)),
                    Some(Created::Exists(_)) | None => Err(AdminError::Exists(request.name)),
                },
                Err(error) => Err(AdminError::Catalog(repeated(error))),
            }
        });
        answers.collect()
    }

    fn install_topic(&self, created: CreatedTopic) -> Arc<Topic> {
        let row = created.topic;
        let configs = self.configs();
        let settings = TopicSettings::resolve(&row.configs, &configs.dynamic);
        for partition in created.partitions {
            self.storage().create_partition(partition, Arc::clone(&settings.log));
        }
        let logs = row.partitions.iter().filter_map(|id| self.storage().partition(*id)).collect();
        info!(topic = %row.name, partitions = row.partitions.len(), "topic changed");
        self.topics().put(Topic::from_row(&row, logs, &configs.dynamic))
    }

    /// Removes a topic and all that belongs to it.
    pub(crate) async fn delete_topic(self: &Arc<Self>, id: TopicId) -> Result<(), AdminError> {
        let topic = {
            let _turn = self.change_turn.lock().await;
            if self.topics().by_id(id).is_none() {
                return Err(AdminError::UnknownTopic);
            }
            self.catalog().delete_topic(id).await?;
            self.topics().remove(id)
        };
        let Some(topic) = topic else { return Ok(()) };
        for log in &topic.partitions {
            self.storage().remove_partition(log.id());
        }
        info!(topic = topic.name.as_str(), "topic deleted");
        self.forget_topic_offsets(&topic.name).await;
        Ok(())
    }

    /// Gives a topic more partitions.
    pub(crate) async fn add_partitions(
        &self,
        name: &str,
        total: i32,
        validate_only: bool,
    ) -> Result<(), AdminError> {
        let _turn = self.change_turn.lock().await;
        let topic = self.topics().by_name(name).ok_or(AdminError::UnknownTopic)?;
        let current = topic.partition_count();
        if total <= current {
            return Err(AdminError::InvalidPartitions(format!(
                "The topic {name} currently has {current} partition(s); {total} would not be an \
                 increase."
            )));
        }
        self.check_partition_limits(total - current)?;
        if validate_only {
            return Ok(());
        }
        let created = self.catalog().add_partitions(topic.id, total as u32).await?;
        self.install_topic(created);
        Ok(())
    }

    /// Replaces a topic's own settings by what `change` makes of them.
    pub(crate) async fn change_topic_configs(
        &self,
        name: &str,
        validate_only: bool,
        change: impl FnOnce(&BTreeMap<String, String>) -> Result<BTreeMap<String, String>, AdminError>,
    ) -> Result<(), AdminError> {
        let _turn = self.change_turn.lock().await;
        let topic = self.topics().by_name(name).ok_or(AdminError::UnknownTopic)?;
        let overrides = crate::config::validate_overrides(&change(&topic.overrides)?)?;
        if validate_only || overrides == topic.overrides {
            return Ok(());
        }
        self.catalog().set_topic_configs(topic.id, overrides.clone()).await?;
        self.replace_topic_overrides(topic.id, overrides);
        Ok(())
    }

    /// Replaces the broker settings that apply to the whole cluster by what `change` makes of them.
    pub(crate) async fn change_broker_configs(
        &self,
        validate_only: bool,
        change: impl FnOnce(&BTreeMap<String, String>) -> Result<BTreeMap<String, String>, AdminError>,
    ) -> Result<(), AdminError> {
        let _turn = self.change_turn.lock().await;
        let before = self.configs().dynamic;
        let after = change(&before)?;
        if validate_only || after == before {
            return Ok(());
        }
        self.catalog().set_broker_configs(ConfigScope::Cluster, after.clone()).await?;
        self.replace_dynamic_configs(after);
        Ok(())
    }
}

fn new_topic(request: &TopicRequest) -> NewTopic {
    let overrides = crate::config::validate_overrides(&request.overrides);
    NewTopic {
        name: request.name.clone(),
        internal: request.internal,
        partitions: request.partitions as u32,
        // The same overrides passed the same check a moment ago.
        configs: overrides.unwrap_or_default(),
    }
}

/// One failed transaction answers several topics; each gets an error of the same meaning.
fn repeated(error: &antiphon_catalog::CatalogError) -> antiphon_catalog::CatalogError {
    use antiphon_catalog::CatalogError;
    use antiphon_common::ErrorKind;
    match error.kind() {
        ErrorKind::Fenced => CatalogError::Fenced { operation: "create topics" },
        ErrorKind::Closed => CatalogError::Closed { operation: "create topics" },
        _ => CatalogError::Unavailable {
            operation: "create topics",
            source: error.to_string().into(),
        },
    }
}
