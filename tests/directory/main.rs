//! The directory behind the kind `ldap`, against OpenLDAP's own server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../real/mod.rs"]
mod real;

use real::slapd::{self, Options, Slapd};

#[tokio::test]
async fn slapd_starts_stops_and_starts_again() {
    let directory = tempfile::tempdir().unwrap();
    let ldif = slapd::person("alice", "wonderland") + &slapd::group("staff", &[slapd::person_dn("alice")]);
    for policy in [false, true] {
        let home = directory.path().join(policy.to_string());
        let mut slapd =
            Slapd::start(&home, Options { ldif: ldif.clone(), policy, ..Options::default() }).await.unwrap();
        assert!(slapd.has_password(&slapd::person_dn("alice"), "wonderland").await);
        assert!(!slapd.has_password(&slapd::person_dn("alice"), "no").await);
        slapd.stop();
        assert!(!slapd.has_password(&slapd::person_dn("alice"), "wonderland").await);
        slapd.start_again().await.unwrap();
        assert!(slapd.has_password(&slapd::person_dn("alice"), "wonderland").await);
        println!("{}", slapd.log());
    }
}
