//! What can be read at the server, and what can be done there unseen: nothing.

use super::*;

/// The key and the field at which a spot's entry is, the second as Lua writes it.
fn at(spot: &Spot) -> [String; 2] {
    let field = spot.entry.as_bytes().iter().map(|byte| format!("\\{byte:03}")).collect();
    [format!("keyward:{{{:?}}}:e", spot.session), field]
}

/// Has the server put the sealed record of one entry behind the numbers of another.
fn copy(server: &Scratch, from: &Spot, to: &Spot) {
    let [from, from_field] = at(from);
    let [to, to_field] = at(to);
    let code = format!(
        "local from, to = redis.call('HGET', KEYS[1], '{from_field}'), redis.call('HGET', KEYS[2], '{to_field}')
        return redis.call('HSET', KEYS[2], '{to_field}', string.sub(to, 1, 81) .. string.sub(from, 82))"
    );
    assert_eq!(server.say(&["EVAL", &code, "2", &from, &to]).trim(), "0");
}

#[tokio::test]
async fn a_dump_of_the_server_holds_nothing_readable() {
    let (server, [one]) = replicas().await;
    let holding = Holding {
        user_agent: Some(b"CANARY-agent".to_vec()),
        accept_language: Some(b"CANARY-language".to_vec()),
        address: Some([203, 0, 113, 77].into()),
        user: "CANARY-user".to_owned(),
        login: "CANARY-login".to_owned(),
    };
    let record =
        Record { portal: "CANARY-portal".into(), session: "CANARY-session".into(), holding, ..record("CANARY-key") };
    let spot = one.spot(&record.portal, &record.session, BACKEND, &record.holding);
    let Claim::Yours(fence) = one.claim(&spot, 0, MINUTE).await.unwrap() else { panic!() };
    assert_eq!(one.commit(&spot, fence, &record, HOUR).await, Ok(Commit::Kept));
    one.due_in(&spot, MINUTE).await.unwrap();
    one.say(&[3; 16], Some(Said { what: Word::Refused(Refusal::Credentials), left: MINUTE })).await.unwrap();
    let Claim::Here(found) = one.claim(&spot, 0, MINUTE).await.unwrap() else { panic!() };
    assert_eq!(found.record, record);
    let dump = |server: &Scratch| {
        let mut dump = server.say(&["KEYS", "*"]);
        for key in dump.clone().lines() {
            for read in [&["HGETALL", key] as &[_], &["GET", key], &["ZRANGE", key, "0", "-1"], &["DUMP", key]] {
                dump += &server.say(read);
            }
        }
        dump
    };
    let before = dump(&server);
    assert!(matches!(one.take(&spot, fence).await.unwrap(), Taken::Ours(_)));
    one.end(&record.portal, &record.session, 4_000_000_000).await.unwrap();
    for dump in [before, dump(&server)] {
        assert!(dump.contains(&format!("{:?}", spot.session)));
        for readable in ["CANARY", "canary", "203.0.113.77", "credentials"] {
            assert!(!dump.contains(readable), "{readable}: {dump}");
        }
    }
}

#[tokio::test]
async fn anothers_record_does_not_open_and_is_replaced() {
    let (server, [one, other]) = replicas().await;
    let eve = Holding { user: "eve".into(), login: "eve".into(), ..ana() };
    let [anas, eves] = [one.anas(), one.spot("main", "s1", BACKEND, &eve)];
    assert_ne!(anas.entry, eves.entry);
    one.with("ana's").await;
    let Claim::Yours(fence) = one.claim(&eves, 0, MINUTE).await.unwrap() else { panic!() };
    assert_eq!(one.commit(&eves, fence, &record("eve's"), HOUR).await, Ok(Commit::Kept));
    copy(&server, &anas, &eves);
    let Claim::Yours(next) = other.claim(&eves, 0, MINUTE).await.unwrap() else { panic!("opened") };
    assert!(next > fence);
    assert_eq!(other.commit(&eves, next, &record("eve's"), HOUR).await, Ok(Commit::Kept));
    assert!(matches!(other.tend(&eves, fence, HOUR, HOUR, MINUTE).await.unwrap(), Tend::Newer(_)));
    copy(&server, &anas, &eves);
    assert!(matches!(other.tend(&eves, fence, HOUR, HOUR, MINUTE).await.unwrap(), Tend::Unknown));
    assert!(matches!(other.take(&eves, next).await.unwrap(), Taken::Gone));
    assert_eq!(one.of_session("main", "s1").await.unwrap().len(), 1);
    assert_eq!(one.end("main", "s1", 0).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_older_record_does_not_open_under_the_present_fence() {
    let (server, [one]) = replicas().await;
    let spot = one.anas();
    let aside = one.spot("main", "s1", [9; 8], &ana());
    let old = one.with("old").await;
    let Claim::Yours(_) = one.claim(&aside, 0, MINUTE).await.unwrap() else { panic!() };
    copy(&server, &spot, &aside);
    let fence = one.yours(old).await;
    assert_eq!(one.keep(fence, "new").await, Commit::Kept);
    assert_eq!(one.here(0).await.record, record("new"));
    copy(&server, &aside, &spot);
    assert!(one.yours(0).await > fence);
}

#[tokio::test]
async fn an_entry_put_back_whole_is_older_than_what_its_holders_know() {
    let (server, [one]) = replicas().await;
    let [key, _] = at(&one.anas());
    let old = one.with("old").await;
    server.say(&["COPY", &key, "aside"]);
    let fence = one.yours(old).await;
    assert_eq!(one.keep(fence, "new").await, Commit::Kept);
    server.say(&["COPY", "aside", &key, "REPLACE"]);
    assert!(matches!(one.tend(&one.anas(), fence, HOUR, HOUR, MINUTE).await.unwrap(), Tend::Unknown));
    assert!(one.yours(fence).await > fence);
}

#[tokio::test]
async fn what_is_no_entry_at_all_is_not_there() {
    let (server, [one]) = replicas().await;
    let spot = one.anas();
    let [key, _] = at(&spot);
    one.with("k").await;
    let garble = "for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do redis.call('HSET', KEYS[1], field, 'no') end";
    server.say(&["EVAL", garble, "1", &key]);
    assert!(one.of_session("main", "s1").await.unwrap().is_empty());
    one.yours(0).await;
}

#[tokio::test]
async fn everything_of_a_holder_names_another_spot() {
    let (_server, [one, other]) = replicas().await;
    let bound = |agent: Option<&str>, language: Option<&str>| Holding {
        user_agent: agent.map(Into::into),
        accept_language: language.map(Into::into),
        ..ana()
    };
    let holdings = [
        ana(),
        bound(None, Some("")),
        bound(Some(""), None),
        bound(Some("a"), None),
        bound(None, Some("a")),
        Holding { address: Some([127, 0, 0, 1].into()), ..ana() },
        Holding { address: Some([127, 0, 0, 2].into()), ..ana() },
        Holding { login: "a".to_owned(), ..ana() },
        Holding { user: "a".to_owned(), ..ana() },
    ];
    let mut spots: Vec<Spot> = holdings.iter().map(|holding| one.spot("main", "s1", BACKEND, holding)).collect();
    assert!(spots.iter().all(|spot| spot.session == one.session("main", "s1")));
    spots.extend([one.spot("main", "s1", [8; 8], &ana()), one.spot("main", "s2", BACKEND, &ana())]);
    spots.extend([one.spot("other", "s1", BACKEND, &ana())]);
    let entries: BTreeSet<_> = spots.iter().map(|spot| spot.entry).collect();
    assert_eq!(entries.len(), spots.len());
    assert_eq!(other.anas(), one.anas());
}

#[tokio::test]
async fn refusals_are_known_to_all_until_the_password_is_good() {
    let (_server, [one, other]) = replicas().await;
    let password = [1; 16];
    assert_eq!(other.said(&password).await, Ok(None));
    let refused = [Refusal::Credentials, Refusal::Expired, Refusal::Interactive].map(Word::Refused);
    for what in refused.into_iter().chain([Word::Locked, Word::Unclear]) {
        one.say(&password, Some(Said { what, left: MINUTE })).await.unwrap();
        let said = other.said(&password).await.unwrap().unwrap();
        assert_eq!(said.what, what);
        assert!(said.left <= MINUTE && said.left > MINUTE / 2);
    }
    assert_eq!(other.said(&[2; 16]).await, Ok(None));
    other.say(&password, None).await.unwrap();
    assert_eq!(one.said(&password).await, Ok(None));
    let place = one.store.place("refused password", &[&password]);
    one.store.put(&place, b"a word of tomorrow", MINUTE).await.unwrap();
    assert_eq!(one.said(&password).await, Ok(None));
}

#[tokio::test]
async fn a_full_server_takes_no_logins_but_every_end() {
    let (server, [one]) = replicas().await;
    let spot = one.anas();
    let fence = one.with("k").await;
    let elsewhere = one.spot("main", "s1", [8; 8], &ana());
    let Claim::Yours(lease) = one.claim(&elsewhere, 0, MINUTE).await.unwrap() else { panic!() };
    server.say(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(one.claim(&one.spot("main", "s2", BACKEND, &ana()), 0, MINUTE).await.is_err());
    assert!(matches!(one.tend(&spot, fence, Duration::ZERO, HOUR, MINUTE).await.unwrap(), Tend::Rest(_)));
    assert_eq!(one.confirm(&spot, fence, None, HOUR).await, Ok(Some(fence)));
    one.give_up(&elsewhere, lease).await.unwrap();
    assert!(matches!(one.take_idle(&spot, fence, HOUR, HOUR, HOUR).await.unwrap(), Taken::InUse(_)));
    assert!(matches!(one.take(&spot, fence).await.unwrap(), Taken::Ours(_)));
    one.end("main", "s1", 4_000_000_000).await.unwrap();
    assert!(matches!(one.claim(&spot, 0, MINUTE).await.unwrap(), Claim::Revoked));
}
