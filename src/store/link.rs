//! The connection to the store.

use std::time::Duration;

use redis::Value;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Mutex, watch};

use super::plan::LinkTerms;
use super::script::{Answer, Script};
use super::{Place, StoreOutage};

/// One connection for everybody, made when it is first needed and again when it breaks.
pub(super) struct Link {
    terms: LinkTerms,
    connection: Mutex<Option<MultiplexedConnection>>,
    reader: Mutex<Option<MultiplexedConnection>>,
    made: watch::Sender<u64>,
}

impl Link {
    pub(super) fn new(terms: LinkTerms) -> Self {
        Self { terms, connection: Mutex::default(), reader: Mutex::default(), made: watch::Sender::new(0) }
    }

    pub(super) fn is_as_planned(&self, terms: &LinkTerms) -> bool {
        self.terms == *terms
    }

    pub(super) async fn run(&self, script: &Script, place: &Place, arguments: &[&[u8]]) -> Result<Answer, StoreOutage> {
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

    /// One of a place's keys, as commands have it.
    pub(super) fn key(&self, place: &Place, suffix: &str) -> String {
        place.key(&self.terms.prefix, suffix)
    }

    /// Has the server answer a command on keys of this place that it may hold back for so long, such as `XREAD
    /// BLOCK`. It has a connection of its own for these, and one at a time is under way: a second one waits. While
    /// the store is down this takes up to `block` to fail, so that who reads in a loop need not wait between tries.
    /// Dropping it is no failure.
    pub(super) async fn blocking(
        &self,
        place: &Place,
        command: redis::Cmd,
        block: Duration,
    ) -> Result<Value, StoreOutage> {
        let _ = place;
        let mut held = self.reader.lock().await;
        let asked = async {
            // What was dropped half-way would have its answer come first.
            let mut connection = match held.take() {
                Some(connection) => connection,
                None => self.connect(None).await?,
            };
            let value = command.query_async::<Value>(&mut connection).await?;
            Ok((value, connection))
        };
        match tokio::time::timeout(block + self.terms.timeout, asked).await {
            Err(_) => Err(StoreOutage::TimedOut),
            Ok(Err(error)) => {
                let error: redis::RedisError = error;
                tokio::time::sleep(block.min(Duration::from_secs(1))).await;
                Err(StoreOutage::Unreachable(error.category().to_owned()))
            }
            Ok(Ok((value, connection))) => {
                *held = Some(connection);
                Ok(value)
            }
        }
    }

    /// Counts how often a connection to the store was made. After each of them the server may be another one, or
    /// have forgotten everything.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.made.subscribe()
    }

    async fn connect(&self, response: Option<Duration>) -> redis::RedisResult<MultiplexedConnection> {
        let address = self.terms.addresses.first().map(String::as_str).unwrap_or_default();
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(response);
        redis::Client::open(address)?.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let connection = self.connect(Some(self.terms.timeout)).await?;
        *held = Some(connection.clone());
        self.made.send_modify(|made| *made += 1);
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
