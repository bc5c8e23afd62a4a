//! What a web server says on one connection, record by record, without the connection: which requests there are,
//! what is answered at once, and when enough was said. It answers one request at a time: no web server there is
//! asks for more on a connection (seen: Apache, lighttpd, nginx), and the specification lets us decline.

use std::mem;

use super::params::{Gathering, find_pairs, put_pair};
use super::record::{Ending, Record, Reply, kind};

/// Most requests on one connection, and other questions with them: as many as nginx takes on one by default. What leaks
/// in whoever is connected for long has an end so, and so has somebody who asks for management records only.
pub const MOST_REQUESTS: u32 = 1000;
/// The flag by which the web server keeps the connection.
const KEEP_CONNECTION: u8 = 1;

/// What the web server wants of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// To be shown to the browser, or read by nginx's `auth_request`.
    Responder,
    /// A decision: on 200 only its variables count.
    Authorizer,
}

impl Role {
    const fn of(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Responder),
            2 => Some(Self::Authorizer),
            _ => None,
        }
    }
}

/// One request to be answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number on the connection.
    pub id: u16,
    /// How to answer.
    pub role: Role,
    /// What is known of it.
    pub variables: Gathering,
}

/// What comes of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing, or nothing yet.
    Nothing,
    /// A request begins. Its variables follow.
    Begun,
    /// There is something to be sent at once.
    Reply(Reply),
    /// A request is complete and waits for its answer.
    Asked(Request),
    /// The request that waits is not wanted any more. This is to be sent instead of an answer.
    Aborted(Reply),
}

/// What no web server does; nobody can tell any more what belongs to which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Nonsense {
    /// Shorter than its eight bytes.
    #[error("the beginning of a request was cut short")]
    ShortBeginning,
    /// It begins while it is under way.
    #[error("a request began that was under way")]
    BegunTwice,
    /// More variables after their end.
    #[error("variables came after their end")]
    LateParams,
    /// More questions beside a request than a connection may bring at all.
    #[error("there were too many questions on one connection")]
    TooMany,
}

#[derive(Debug)]
enum State {
    Idle,
    Reading { id: u16, role: Role },
    Answering { id: u16 },
}

/// One connection's conversation.
#[derive(Debug)]
pub struct Conversation {
    state: State,
    /// What came of the request that is being read.
    variables: Gathering,
    questions: u32,
    is_kept: bool,
    /// What to tell of how many connections are taken.
    most_connections: usize,
}

impl Conversation {
    /// Of a new connection, one of so many at most.
    pub fn new(most_connections: usize) -> Self {
        Self { state: State::Idle, variables: Gathering::default(), questions: 0, is_kept: true, most_connections }
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// What cannot be gone on after: the connection is to be closed.
    pub fn take(&mut self, record: Record<'_>) -> Result<Event, Nonsense> {
        if record.request == 0 {
            self.count()?;
            return Ok(Event::Reply(self.manage(record)));
        }
        match record.kind {
            kind::BEGIN_REQUEST => self.begin(record),
            kind::PARAMS => self.params(record),
            kind::ABORT_REQUEST => Ok(self.abort(record.request)),
            // A body that came along, which nothing depends on, and whatever is newer than this.
            _ => Ok(Event::Nothing),
        }
    }

    /// The answer to the request that waited for it is out.
    pub fn answered(&mut self) {
        self.state = State::Idle;
    }

    /// Takes back what a request has left, for the next.
    pub fn reuse(&mut self, variables: Gathering) {
        self.variables = variables.emptied();
    }

    /// Whether no request is under way.
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether nothing was asked yet.
    pub const fn is_fresh(&self) -> bool {
        self.questions == 0
    }

    /// Whether the connection is to be closed now.
    pub const fn is_over(&self) -> bool {
        self.is_idle() && (!self.is_kept || self.questions >= MOST_REQUESTS)
    }

    /// Bytes held for a request that is not complete.
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests, and for tests/fuzz"))]
    pub const fn held(&self) -> usize {
        self.variables.len()
    }

    fn count(&mut self) -> Result<(), Nonsense> {
        if self.questions >= MOST_REQUESTS {
            return Err(Nonsense::TooMany);
        }
        self.questions += 1;
        Ok(())
    }

    fn begin(&mut self, record: Record<'_>) -> Result<Event, Nonsense> {
        self.count()?;
        let id = record.request;
        let Some([role1, role0, flags, ..]) = record.content.first_chunk::<8>() else {
            return Err(Nonsense::ShortBeginning);
        };
        match self.state {
            State::Idle => {}
            State::Reading { id: other, .. } | State::Answering { id: other } if other == id => {
                return Err(Nonsense::BegunTwice);
            }
            _ => return Ok(Event::Reply(Reply::End { request: id, ending: Ending::NotBesideAnother })),
        }
        self.is_kept = flags & KEEP_CONNECTION != 0;
        let Some(role) = Role::of(u16::from_be_bytes([*role1, *role0])) else {
            return Ok(Event::Reply(Reply::End { request: id, ending: Ending::UnknownRole }));
        };
        self.state = State::Reading { id, role };
        Ok(Event::Begun)
    }

    fn params(&mut self, record: Record<'_>) -> Result<Event, Nonsense> {
        match self.state {
            State::Reading { id, .. } if id == record.request && !record.content.is_empty() => {
                self.variables.add(record.content);
                Ok(Event::Nothing)
            }
            State::Reading { id, role } if id == record.request => {
                self.state = State::Answering { id };
                Ok(Event::Asked(Request { id, role, variables: mem::take(&mut self.variables) }))
            }
            State::Answering { id } if id == record.request => Err(Nonsense::LateParams),
            // Of a request that is over, or was declined.
            _ => Ok(Event::Nothing),
        }
    }

    fn abort(&mut self, request: u16) -> Event {
        let end = Reply::End { request, ending: Ending::Complete };
        match self.state {
            State::Reading { id, .. } if id == request => {
                self.state = State::Idle;
                self.variables = mem::take(&mut self.variables).emptied();
                Event::Reply(end)
            }
            State::Answering { id } if id == request => {
                self.state = State::Idle;
                Event::Aborted(end)
            }
            _ => Event::Nothing,
        }
    }

    /// Answers what is about no request.
    fn manage(&self, record: Record<'_>) -> Reply {
        if record.kind != kind::GET_VALUES {
            return Reply::UnknownType(record.kind);
        }
        let (mut asked, mut values) = (Vec::new(), Vec::new());
        if find_pairs(record.content, &mut asked).is_ok() {
            let most = self.most_connections.to_string();
            let known = [("FCGI_MAX_CONNS", most.as_str()), ("FCGI_MAX_REQS", &most), ("FCGI_MPXS_CONNS", "0")];
            for (name, value) in known {
                if asked.iter().any(|held| held.name(record.content) == name.as_bytes()) {
                    put_pair(&mut values, name.as_bytes(), value.as_bytes());
                }
            }
        }
        Reply::Values(values)
    }
}

#[cfg(test)]
mod tests {
    use super::super::params::{BadParams, LONGEST};
    use super::*;

    const NOT_KEPT: &[u8] = &[0, 2, 0, 0, 0, 0, 0, 0];
    const KEPT: &[u8] = &[0, 2, 1, 0, 0, 0, 0, 0];

    fn end(request: u16, ending: Ending) -> Event {
        Event::Reply(Reply::End { request, ending })
    }

    /// Says several things, of which the last one's outcome counts.
    fn say(conversation: &mut Conversation, records: &[(u8, u16, &[u8])]) -> Result<Event, Nonsense> {
        let say = |conversation: &mut Conversation, (kind, request, content): &(u8, u16, &[u8])| {
            conversation.take(Record { kind: *kind, request: *request, content })
        };
        let (last, before) = records.split_last().unwrap();
        for one in before {
            say(conversation, one)?;
        }
        say(conversation, last)
    }

    /// The value of a variable of the request that was asked; whoever asked has its memory back.
    fn asked(conversation: &mut Conversation, records: &[(u8, u16, &[u8])], name: &str) -> Option<Vec<u8>> {
        match say(conversation, records) {
            Ok(Event::Asked(mut request)) => {
                let value = request.variables.read().unwrap().get(name).map(<[u8]>::to_vec);
                conversation.reuse(request.variables);
                value
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_complete_with_the_end_of_its_variables() {
        let mut conversation = Conversation::new(9);
        assert!(conversation.is_fresh() && !conversation.is_over());
        assert_eq!(say(&mut conversation, &[(1, 3, NOT_KEPT)]), Ok(Event::Begun));
        assert!(!conversation.is_idle());
        // Cut in the middle of a pair.
        let pieces: [(_, _, &[u8]); 4] = [(4, 3, b"\x01\x03A"), (4, 3, b"xy"), (4, 3, b"z"), (4, 3, b"")];
        assert_eq!(asked(&mut conversation, &pieces, "A").unwrap(), b"xyz");
        assert!(!conversation.is_over());
        conversation.answered();
        assert!(conversation.is_over());
    }

    #[test]
    fn bodies_data_strangers_and_novelties_change_nothing() {
        let mut conversation = Conversation::new(9);
        for ignored in
            [(4, 1, &b"\x01\x01Bb"[..]), (4, 1, b""), (5, 1, b"body"), (2, 1, b""), (9, 1, b""), (99, 1, b"")]
        {
            assert_eq!(say(&mut conversation, &[ignored]), Ok(Event::Nothing), "{ignored:?}");
        }
        let among: [(_, _, &[u8]); 8] = [
            (1, 1, NOT_KEPT),
            (5, 1, b"body"),
            (4, 2, b"\x01\x01Bb"),
            (4, 2, b""),
            (4, 1, b"\x01\x01Aa"),
            (8, 1, b"data"),
            (99, 1, b""),
            (4, 1, b""),
        ];
        let Ok(Event::Asked(request)) = say(&mut conversation, &among) else { panic!("nothing was asked") };
        let mut alone = Gathering::default();
        alone.add(b"\x01\x01Aa");
        assert_eq!(request.variables, alone);
        assert_eq!(say(&mut conversation, &[(5, 1, b"body"), (5, 1, b""), (4, 2, b"x")]), Ok(Event::Nothing));
    }

    #[test]
    fn kept_connections_bring_request_after_request_and_have_an_end() {
        let mut conversation = Conversation::new(9);
        for number in 1..=MOST_REQUESTS {
            assert!(!conversation.is_over(), "{number}");
            let one = [&b"\x01\x01Aa"[..], b"\x01\x01Bb"][number as usize % 2];
            let found = asked(&mut conversation, &[(1, 1, KEPT), (4, 1, one), (4, 1, b"")], "A");
            assert_eq!(found.is_some(), number % 2 == 0, "nothing is left of the one before");
            conversation.answered();
        }
        assert!(conversation.is_over());
        assert_eq!(say(&mut conversation, &[(1, 1, KEPT)]), Err(Nonsense::TooMany));
        assert_eq!(say(&mut conversation, &[(9, 0, b"")]), Err(Nonsense::TooMany));
    }

    #[test]
    fn a_second_request_beside_one_is_declined_and_the_first_goes_on() {
        let mut conversation = Conversation::new(9);
        let begun = [(1, 1, KEPT), (4, 1, b"\x01\x01Aa"), (1, 2, NOT_KEPT)];
        assert_eq!(say(&mut conversation, &begun), Ok(end(2, Ending::NotBesideAnother)));
        let other = [(4, 2, &b"\x01\x01Bb"[..]), (4, 2, b""), (2, 2, b""), (4, 1, b"")];
        assert_eq!(asked(&mut conversation, &other, "B"), None);
        assert_eq!(say(&mut conversation, &[(1, 2, NOT_KEPT)]), Ok(end(2, Ending::NotBesideAnother)));
        conversation.answered();
        assert!(!conversation.is_over(), "the first one keeps the connection");
        assert_eq!(say(&mut conversation, &[(1, 2, NOT_KEPT)]), Ok(Event::Begun));
    }

    #[test]
    fn unknown_roles_are_declined_and_keep_the_connection_if_they_said_so() {
        for (role, kept) in [
            (&[0, 3, 1, 0, 0, 0, 0, 0][..], true),
            (&[0, 3, 0, 0, 0, 0, 0, 0], false),
            (&[1, 2, 0, 0, 0, 0, 0, 0], false),
        ] {
            let mut conversation = Conversation::new(9);
            assert_eq!(say(&mut conversation, &[(1, 1, role)]), Ok(end(1, Ending::UnknownRole)), "{role:?}");
            assert_eq!(conversation.is_over(), !kept);
        }
        for role in [1, 2] {
            let mut conversation = Conversation::new(9);
            let asked = say(&mut conversation, &[(1, 1, &[0, role, 0, 0, 0, 0, 0, 0]), (4, 1, b"")]);
            let role = if role == 1 { Role::Responder } else { Role::Authorizer };
            assert_eq!(asked, Ok(Event::Asked(Request { id: 1, role, variables: Gathering::default() })));
        }
    }

    #[test]
    fn an_aborted_request_ends_at_once() {
        let mut conversation = Conversation::new(9);
        assert_eq!(say(&mut conversation, &[(1, 1, KEPT), (4, 1, b"\x01"), (2, 1, b"")]), Ok(end(1, Ending::Complete)));
        assert!(conversation.is_idle() && conversation.held() == 0);
        let end = Reply::End { request: 1, ending: Ending::Complete };
        assert_eq!(say(&mut conversation, &[(1, 1, KEPT), (4, 1, b""), (2, 1, b"")]), Ok(Event::Aborted(end)));
        assert!(conversation.is_idle() && !conversation.is_over());
        let next = [(1, 1, NOT_KEPT), (4, 1, &b"\x01\x01Aa"[..]), (4, 1, b"")];
        assert_eq!(asked(&mut conversation, &next, "A").unwrap(), b"a", "nothing is left of those before");
    }

    #[test]
    fn management_is_answered_at_any_time() {
        let mut conversation = Conversation::new(9);
        let names = b"\x0f\0FCGI_MPXS_CONNS\x07\0NOTHING\x0d\0FCGI_MAX_REQS\x0f\0FCGI_MPXS_CONNS";
        let values = b"\x0d\x01FCGI_MAX_REQS9\x0f\x01FCGI_MPXS_CONNS0".to_vec();
        assert_eq!(say(&mut conversation, &[(9, 0, names)]), Ok(Event::Reply(Reply::Values(values.clone()))));
        assert_eq!(say(&mut conversation, &[(1, 1, KEPT), (9, 0, names)]), Ok(Event::Reply(Reply::Values(values))));
        for (strange, bytes) in [(9, &b"\x80"[..]), (9, b""), (9, b"\x0f\xff\xff\xff\xffFCGI_MPXS_CONNS")] {
            let nothing = Ok(Event::Reply(Reply::Values(Vec::new())));
            assert_eq!(say(&mut conversation, &[(strange, 0, bytes)]), nothing, "{bytes:?}");
        }
        for kind in [0, 1, 2, 4, 10, 11, 12, 255] {
            let unknown = Ok(Event::Reply(Reply::UnknownType(kind)));
            assert_eq!(say(&mut conversation, &[(kind, 0, b"")]), unknown);
        }
        assert_eq!(asked(&mut conversation, &[(4, 1, b"")], "A"), None);
    }

    #[test]
    fn what_no_web_server_does_ends_the_conversation() {
        for (records, nonsense) in [
            (&[(1, 1, &b"\0\x02\0"[..])][..], Nonsense::ShortBeginning),
            (&[(1, 1, KEPT), (1, 1, KEPT)], Nonsense::BegunTwice),
            (&[(1, 1, KEPT), (4, 1, b""), (1, 1, KEPT)], Nonsense::BegunTwice),
            (&[(1, 1, KEPT), (4, 1, b""), (4, 1, b"\x01\x01Aa")], Nonsense::LateParams),
            (&[(1, 1, KEPT), (4, 1, b""), (4, 1, b"")], Nonsense::LateParams),
        ] {
            assert_eq!(say(&mut Conversation::new(9), records), Err(nonsense), "{records:?}");
        }
        let mut conversation = Conversation::new(9);
        say(&mut conversation, &[(1, 1, KEPT)]).unwrap();
        let flood = (0..MOST_REQUESTS).find_map(|_| say(&mut conversation, &[(1, 2, KEPT)]).err());
        assert_eq!(flood, Some(Nonsense::TooMany));
    }

    #[test]
    fn variables_that_are_too_long_are_held_no_longer_and_refused_at_their_end() {
        let mut conversation = Conversation::new(9);
        say(&mut conversation, &[(1, 1, KEPT)]).unwrap();
        for _ in 0..100 {
            say(&mut conversation, &[(4, 1, &[b'x'; 65_535])]).unwrap();
            assert!(conversation.held() <= LONGEST);
        }
        let Ok(Event::Asked(mut request)) = say(&mut conversation, &[(4, 1, b"")]) else { panic!("nothing was asked") };
        assert_eq!(request.variables.read(), Err(BadParams::TooLong));
    }
}
