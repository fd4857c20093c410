//! InitProducerId (key 22), versions 0-5: gives an idempotent producer its id (KIP-98).
//!
//! - A producer that lost its sequence (KIP-360, v3+) names its old id and epoch: it gets the next
//!   epoch, or a new id when the epochs are used up.
//! - A transactional id is refused: transactions are not served yet.

use antiphon_common::ProducerId;
use antiphon_protocol::ErrorCode;
use kafka_protocol::messages::{self, InitProducerIdRequest, InitProducerIdResponse};
use tracing::warn;

use super::{RequestContext, codes};

pub(super) async fn handle(
    context: RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if request.transactional_id.is_some() {
        return failed(ErrorCode::COORDINATOR_NOT_AVAILABLE);
    }
    let (id, epoch) = (request.producer_id.0, request.producer_epoch);
    if id >= 0 && (0..i16::MAX - 1).contains(&epoch) {
        return granted(ProducerId(id), epoch + 1);
    }
    let broker = &context.broker;
    match broker.producer_ids().next(&**broker.catalog()).await {
        Ok(id) => granted(id, 0),
        Err(error) => {
            warn!(error = %crate::Chain(&error), "no producer id could be reserved");
            failed(codes::of_catalog(&error))
        }
    }
}

fn granted(id: ProducerId, epoch: i16) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_producer_id(messages::ProducerId(id.0))
        .with_producer_epoch(epoch)
}

fn failed(code: ErrorCode) -> InitProducerIdResponse {
    granted(ProducerId::NONE, -1).with_error_code(code.get())
}
