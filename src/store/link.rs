//! The connection to the store.

use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use super::plan::LinkTerms;
use super::script::{Answer, Script};
use super::{Place, StoreOutage};

/// One connection for everybody, made when it is first needed and again when it breaks.
pub(super) struct Link {
    terms: LinkTerms,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl Link {
    pub(super) fn new(terms: LinkTerms) -> Self {
        Self { terms, connection: Mutex::default() }
    }

    pub(super) fn is_as_planned(&self, terms: &LinkTerms) -> bool {
        self.terms == *terms
    }

    pub(super) async fn run(
        &self,
        script: &Script,
        place: &Place,
        arguments: &[&[u8]],
    ) -> Result<Answer, StoreOutage> {
        let mut invocation = script.code.prepare_invoke();
        for suffix in script.keys {
            invocation.key(place.key(&self.terms.prefix, suffix));
        }
        for argument in arguments {
            invocation.arg(*argument);
        }
        let asked = async {
            let mut connection = self.connection().await?;
            invocation.invoke_async::<Value>(&mut connection).await
        };
        match tokio::time::timeout(self.terms.timeout, asked).await {
            Err(_) => Err(StoreOutage::TimedOut),
            Ok(Err(error)) => {
                *self.connection.lock().await = None;
                Err(StoreOutage::Unreachable(error.category().to_owned()))
            }
            Ok(Ok(value)) => Ok(answer(value)),
        }
    }

    async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let address = self.terms.addresses.first().map(String::as_str).unwrap_or_default();
        let connection = redis::Client::open(address)?.get_multiplexed_async_connection().await?;
        *held = Some(connection.clone());
        Ok(connection)
    }
}

fn answer(value: Value) -> Answer {
    let text = |value| match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        Value::SimpleString(text) => Some(text.into_bytes()),
        Value::Okay => Some(b"OK".to_vec()),
        _ => None,
    };
    match value {
        Value::Array(values) => Answer(values.into_iter().map(text).collect()),
        other => Answer(vec![text(other)]),
    }
}

/// Default of `[store] timeout`.
pub(super) const TIMEOUT: Duration = Duration::from_millis(500);
