//! What can be configured, and what is a mistake.

use std::sync::Arc;

use keyward::domain::ManualClock;

use crate::stage::try_directory;

fn mistakes(text: &str) -> Vec<String> {
    try_directory(text, &Arc::new(ManualClock::at(0))).err().unwrap_or_default()
}

#[test]
fn mistakes_are_told_by_their_key() {
    let server = "servers = ['ldapi://%2Frun%2Fldapi']\n";
    let search = "base = 'dc=test'\n";
    let template = "dn = 'uid={login},dc=test'\n";
    let groups = "group_base = 'ou=g,dc=test'\n";
    for (parts, expected) in [
        (vec![server, search], None),
        (vec![server, template], None),
        (vec![search], Some("servers")),
        (vec!["servers = []\n", search], Some("servers")),
        (vec![server], Some("base")),
        (vec![server, search, template], Some("dn")),
        (vec![server, template, "filter = '(uid={login})'\n"], Some("dn")),
        (vec![server, "dn = 'uid=x,dc=test'\n"], Some("dn")),
        (vec![server, "dn = '{login},dc=test'\n"], Some("dn")),
        (vec![server, "dn = '{login}=x,dc=test'\n"], Some("dn")),
        (vec![server, "dn = '{login}'\n"], Some("dn")),
        (vec![server, "base = 'here'\n"], Some("base")),
        (vec![server, search, "scope = 'all'\n"], Some("scope")),
        (vec![server, search, "filter = '(uid=x)'\n"], Some("filter")),
        (vec![server, search, "filter = 'uid={login}'\n"], None),
        (vec![server, search, "filter = '({login}=x)'\n"], Some("filter")),
        (vec![server, search, "filter = '(&{login}(uid=x))'\n"], Some("filter")),
        (vec![server, search, "filter = '(uid={login}'\n"], Some("filter")),
        (vec![server, search, "filter = '(uid:{login}:=x)'\n"], Some("filter")),
        (vec![server, search, "bind_dn = 'cn=k,dc=test'\nbind_password = 'x'\n"], None),
        (vec![server, search, "bind_dn = 'cn=k,dc=test'\n"], Some("bind_password")),
        (vec![server, search, "bind_dn = 'cn=k,dc=test'\nbind_password = ''\n"], Some("bind_password")),
        (vec![server, search, "bind_dn = 'me'\nbind_password = 'x'\n"], Some("bind_dn")),
        (vec![server, search, "bind_password = 'x'\n"], Some("bind_dn")),
        (vec![server, search, "decoy_dn = 'x'\n"], Some("decoy_dn")),
        (vec![server, search, "connections = 0\n"], Some("connections")),
        (vec![server, search, "timeout = '0s'\n"], Some("timeout")),
        (vec![server, search, groups, "group_filter = '(member={dn})'\n"], None),
        (vec![server, search, "group_filter = '(member={dn})'\n"], Some("group_base")),
        (vec![server, search, "nested_groups = true\n"], Some("group_base")),
        (vec![server, search, groups, "group_filter = '(member=x)'\n"], Some("group_filter")),
        (vec![server, search, groups, "group_filter = '({dn}=x)'\n"], Some("group_filter")),
        (vec![server, search, "group_base = 'x'\n"], Some("group_base")),
        (vec![server, search, groups, "group_name = 'a b'\n"], Some("group_name")),
        (vec![server, search, "[attributes]\ngroups = 'memberOf'\n"], Some("group_base")),
        (
            vec![server, search, groups, "group_filter = '(member={dn})'\n[attributes]\ngroups = 'x'\n"],
            Some("group_filter"),
        ),
        (
            vec![server, search, groups, "nested_groups = true\n[attributes]\ngroups = 'memberOf'\n"],
            Some("nested_groups"),
        ),
        (vec![server, search, "[attributes]\nuser = ''\n"], Some("attributes.user")),
        (vec![server, search, "[attributes]\nuser = '*'\n"], Some("attributes.user")),
        (vec![server, search, "[attributes]\nuser = '1.1'\n"], Some("attributes.user")),
        (vec![server, search, "ca_file = '/nowhere'\n"], None),
        (vec!["servers = ['ldaps://a.test']\n", search, "ca_file = '/nowhere'\n"], Some("ca_file")),
    ] {
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(mistakes(&parts.concat()), expected, "{}", parts.concat());
    }
}

#[test]
fn passwords_cross_no_network_in_the_clear_unless_that_is_said() {
    let more = "base = 'dc=test'\n";
    for (server, key, good) in [
        ("ldap://a.test", "", false),
        ("ldap://10.0.0.7:389", "", false),
        ("ldap://[fe80::1]", "", false),
        ("ldap://a.test", "plaintext = true", true),
        ("ldap://localhost", "", true),
        ("ldap://127.3.2.1", "", true),
        ("ldap://[::1]:3389", "", true),
        ("ldap://localhost.evil.test", "", false),
        ("ldap://127.0.0.1.evil.test", "", false),
        ("ldapi://%2Frun%2Fldapi", "", true),
    ] {
        let found = mistakes(&format!("servers = ['{server}']\n{key}\n{more}"));
        assert_eq!(found.is_empty(), good, "{server} {key} {found:?}");
        assert!(found.iter().all(|key| key == "servers[1]"), "{found:?}");
    }
    // There are authorities on this system, or there is a mistake for that.
    for (server, key) in [("ldaps://a.test", ""), ("ldap://a.test", "starttls = true"), ("ldaps://10.0.0.7", "")] {
        let found = mistakes(&format!("servers = ['{server}']\n{key}\n{more}"));
        assert!(found.is_empty() || found == ["ca_file"], "{server} {key} {found:?}");
    }
}

#[test]
fn an_address_is_a_server_and_nothing_more() {
    for server in [
        "a.test",
        "http://a.test",
        "ldap://",
        "ldap:a.test",
        "ldap://a.test/dc=x",
        "ldap://a.test/?uid",
        "ldap://a.test#x",
        "ldap://user@a.test",
        "ldap://user:word@a.test",
        "ldapi://",
        "ldapi://run%2Fldapi",
        "ldapi:///run/ldapi",
        "ldap://a%20b.test",
        "ldap://a.test:99999",
    ] {
        let found = mistakes(&format!(
            "servers = ['ldapi://%2Frun%2Fldapi', '{server}']\nplaintext = true\nbase = 'dc=test'\n"
        ));
        assert_eq!(found, ["servers[2]"], "{server}");
    }
}
