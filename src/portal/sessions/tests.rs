//! What is kept in memory, with nobody to share it.

use super::*;

fn forget_ended(sessions: &Sessions, now: UnixSeconds) {
    while sessions.next_ended(now).is_some() {}
}

fn session(user: &str, expires: UnixSeconds) -> HeldSession {
    let identity = Identity::new(user.to_owned(), "", "", vec![]).unwrap();
    HeldSession::new(identity, expires, None)
}

fn user(sessions: &Sessions, portal: &str, shown: &str, now: UnixSeconds) -> Option<String> {
    sessions.find(portal, shown, now).map(|(_, held)| held.identity.user().to_owned())
}

#[test]
fn a_session_is_found_at_its_own_portal_until_it_ends() {
    let sessions = Sessions::new(10);
    sessions.keep_here("p", "shown", session("ana", 100)).unwrap();
    for (portal, shown, now, expected) in [
        ("p", "shown", 99, Some("ana")),
        ("p", "shown", 100, None),
        ("ps", "hown", 0, None),
        ("q", "shown", 0, None),
        ("p", "", 0, None),
    ] {
        assert_eq!(user(&sessions, portal, shown, now).as_deref(), expected, "{portal} {shown} {now}");
    }
    let id = sessions.id_of("p", "shown");
    for (id, ended) in [("shown", false), (&id[1..], false), (&id, true), (&id, false)] {
        assert_eq!(sessions.end("p", id).is_some(), ended, "{id}");
    }
    assert!(sessions.find("p", "shown", 0).is_none());
}

#[test]
fn sessions_are_found_by_their_memo_while_they_last() {
    let sessions = Sessions::new(10);
    let with = |memo: &str, expires| HeldSession {
        memos: memo.split_whitespace().map(str::to_owned).collect(),
        ..session("ana", expires)
    };
    let found = |portal: &str, memo: &str| sessions.ids_with_memo(portal, memo).len();
    sessions.keep_here("p", "a", with("m", 100)).unwrap();
    sessions.keep_here("p", "b", with("m", 200)).unwrap();
    sessions.keep_here("q", "c", with("m", 300)).unwrap();
    sessions.keep_here("p", "d", with("", 300)).unwrap();
    assert_eq!((found("p", "m"), found("q", "m"), found("p", "")), (2, 1, 0));
    forget_ended(&sessions, 100);
    assert_eq!(sessions.ids_with_memo("p", "m"), [sessions.id_of("p", "b")]);
    sessions.keep_here("p", "b", with("n", 200)).unwrap();
    assert_eq!((found("p", "m"), found("p", "n")), (0, 1));
    assert!(sessions.end("p", &sessions.id_of("p", "b")).is_some());
    assert!(sessions.end("q", &sessions.id_of("q", "c")).is_some());
    assert!(sessions.by_memo.is_empty());
}

#[test]
fn what_a_kind_remembers_lasts_through_reloads_and_goes_with_its_portal() {
    let sessions = Sessions::new(1);
    let first = sessions.keepsake("a", || 1_u32);
    let second = sessions.keepsake("a", || 2_u32);
    drop(first);
    assert_eq!((*second, *sessions.keepsake("b", || 3_u32)), (1, 3));
    drop(second);
    assert_eq!(*sessions.keepsake("a", || 4_u32), 4);
    assert_eq!(sessions.keepsakes.lock().len(), 1);
}

#[test]
fn what_does_not_fit_is_refused_and_nobody_has_to_go() {
    let sessions = Sessions::new(2);
    sessions.keep_here("p", "a", session("ana", 100)).unwrap();
    sessions.keep_here("p", "b", session("ben", 200)).unwrap();
    assert_eq!(sessions.keep_here("p", "c", session("cleo", 300)).err(), Some(NoRoom));
    assert!(matches!(sessions.keep_here("p", "a", session("amy", 150)), Ok(Kept::Replaced(old)) if old.expires == 100));
    assert_eq!(user(&sessions, "p", "a", 0).as_deref(), Some("amy"));
    forget_ended(&sessions, 120);
    assert_eq!(user(&sessions, "p", "a", 120).as_deref(), Some("amy"));
    forget_ended(&sessions, 150);
    assert!(sessions.keep_here("p", "c", session("cleo", 300)).is_ok());
    assert_eq!((sessions.held.len(), sessions.by_end.lock().len()), (2, 2));
}

#[test]
fn what_a_session_is_kept_under_says_nothing_of_what_the_browser_shows() {
    let shown = "what-the-browser-shows";
    let [one, two] = [Sessions::new(1), Sessions::new(1)].map(|sessions| sessions.id_of("p", shown));
    assert_ne!(one, two, "without the key of the process nobody can test guesses");
    assert_eq!(one.len(), 32, "half a hash, however long the value is");
}

#[test]
fn sessions_that_come_and_go_at_once_leave_no_note_behind() {
    let sessions = Sessions::new(100);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let sessions = &sessions;
            scope.spawn(move || {
                for round in 0..5000 {
                    if thread % 2 == 0 {
                        sessions.keep_here("p", "shown", session("ana", 1000 + thread * 5000 + round)).unwrap();
                    } else {
                        sessions.end("p", &sessions.id_of("p", "shown"));
                    }
                }
            });
        }
    });
    assert_eq!(sessions.held.len(), sessions.by_end.lock().len());
    forget_ended(&sessions, 1_000_000);
    assert_eq!((sessions.held.len(), sessions.by_end.lock().len()), (0, 0));
}

mod races;
mod replicas;
