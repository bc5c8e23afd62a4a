//! How an answer of the portal is read: yes, no, or not at all.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::settings::Reading;
use crate::domain::{Identity, Outage, Secret, UnixSeconds};
use crate::wire::Answer;

/// Longest name of a session, in bytes.
const LONGEST_SID: usize = 512;
/// Longest password, in bytes.
const LONGEST_PASSWORD: usize = 1024;
/// A session that ends later than this, in seconds, was told in milliseconds or by mistake: ten years.
const LONGEST_LEFT: u64 = 10 * 366 * 24 * 3600;

/// What the portal said of a cookie.
pub(super) enum Said {
    /// Nobody is signed in with it.
    No,
    /// Somebody is.
    Yes(Box<Word>),
}

/// Who is signed in.
pub(super) struct Word {
    pub identity: Identity<'static>,
    /// The portal's name for the session.
    pub sid: Option<String>,
    /// How long the session lasts, in seconds, where the portal says so.
    pub left: Option<u64>,
    pub password: Option<Secret>,
}

impl Reading {
    /// Reads an answer. Only what is written down as a yes or a no is one; an error says what is strange
    /// about everything else, without a word of it.
    pub(super) fn of(&self, answer: &Answer) -> Result<Said, Outage> {
        let status = answer.status();
        match answer.outage() {
            Some(outage @ Outage::Throttled { .. }) => return Err(outage),
            // It is there, and failed over this one question perhaps.
            Some(_) => return Err(strange(&format!("status {status}"))),
            None => {}
        }
        if self.refused_statuses.contains(&u64::from(status)) {
            return Ok(Said::No);
        }
        if status != 200 {
            return Err(strange(&format!("status {status}, which is not in refused_statuses")));
        }
        let json = strict_json(answer).ok_or_else(|| strange("no JSON object"))?;
        match self.is_active(&json) {
            Some(true) => Ok(Said::Yes(Box::new(self.word(&json, answer.server_time())?))),
            Some(false) => Ok(Said::No),
            None => Err(strange("its member active is neither in active_is nor in inactive_is")),
        }
    }

    fn is_active(&self, json: &Value) -> Option<bool> {
        let active = self.members.active.find(json);
        if active.is_some_and(|active| self.inactive_is.contains(active)) {
            return Some(false);
        }
        let is_one = active.is_some_and(|active| self.active_is.contains(active));
        // Without such a member, it is the name that says it.
        (is_one || self.active_is.is_empty()).then_some(true)
    }

    fn word(&self, json: &Value, server_time: UnixSeconds) -> Result<Word, Outage> {
        let members = &self.members;
        let text = |what: &str, value: Option<&Value>| match value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(strange(&format!("{what} is no text"))),
        };
        let user = text("the user", members.user.find(json))?.ok_or_else(|| strange("it names no user"))?;
        let name = text("the name", members.name.find(json))?.unwrap_or_default();
        let email = text("the e-mail address", members.email.find(json))?.unwrap_or_default();
        let roles = roles(members.roles.find(json))?;
        let identity = Identity::new(user, name, email, roles).map_err(|error| strange(&error.to_string()))?;
        let sid = text("the session's name", members.sid.find(json))?;
        if sid.as_ref().is_some_and(|sid| !(1..=LONGEST_SID).contains(&sid.len())) {
            return Err(strange("the session's name is empty or too long"));
        }
        let password = text("the password", members.password.find(json))?;
        if password.as_ref().is_some_and(|password| !(1..=LONGEST_PASSWORD).contains(&password.len())) {
            return Err(strange("the password is empty or too long"));
        }
        let left = members.expires.find(json).map(|expires| left(expires, server_time)).transpose()?;
        Ok(Word { identity, sid, left, password: password.map(Secret::from) })
    }
}

/// What is left of a session, by the portal's own clock: nobody need compare it with ours.
fn left(expires: &Value, server_time: UnixSeconds) -> Result<u64, Outage> {
    let expires = expires.as_u64().ok_or_else(|| strange("the end of the session is no whole number of seconds"))?;
    match expires.checked_sub(server_time) {
        None | Some(0) => Err(strange("it vouches for a session that has ended")),
        Some(left) if left > LONGEST_LEFT => Err(strange("the end of the session is too far away for seconds")),
        Some(left) => Ok(left),
    }
}

/// Whole texts in a list. One text is none: nobody can tell whether it is one role, or several with something
/// in between.
fn roles(value: Option<&Value>) -> Result<Vec<Cow<'static, str>>, Outage> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let role = |role: &Value| role.as_str().map(|role| Cow::Owned(role.to_owned()));
    let roles = value.as_array().and_then(|roles| roles.iter().map(role).collect());
    roles.ok_or_else(|| strange("the roles are no list of texts"))
}

fn strange(what: &str) -> Outage {
    Outage::Protocol(what.to_owned())
}

/// The body as a JSON object in which nothing is said twice: whoever says two things says nothing.
fn strict_json(answer: &Answer) -> Option<Value> {
    let Cow::Borrowed(text) = answer.text() else { return None };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Once.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    value.is_object().then_some(value)
}

/// Reads a value whose objects have each member once.
struct Once;

impl<'de> DeserializeSeed<'de> for Once {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Once)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Once)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands there twice"));
            }
        }
        Ok(Value::Object(object))
    }
}
