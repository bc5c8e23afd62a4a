//! The shipped files themselves.

use keyward::backend::KINDS;
use keyward::demo::nginx::{Nginx, SHIPPED};
use keyward::demo::process::free_address;

#[test]
fn addresses_and_host_names_stand_in_one_file() {
    for (name, content) in SHIPPED {
        let lines = content.lines().filter(|line| !line.trim_start().starts_with('#'));
        for line in lines {
            assert!(!line.contains(".test") && !line.contains("127.") && !line.contains("listen"), "{name}: {line}");
        }
    }
}

#[tokio::test]
async fn the_example_is_accepted_as_it_is_and_every_file_of_it_is_known() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/nginx");
    let site = std::fs::read_to_string(folder.join("site.conf")).unwrap();
    assert!(site.contains("listen 127.0.0.1:8080"));
    let address = free_address().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = site.replace("127.0.0.1:8080", &address.to_string());
    let nginx = Nginx::start_shipped(directory.path(), &elsewhere, address).await;
    assert!(nginx.is_ok(), "{nginx:?}");
    let mut found: Vec<String> = std::fs::read_dir(folder.join("keyward"))
        .unwrap()
        .map(|entry| format!("keyward/{}", entry.unwrap().file_name().to_string_lossy()))
        .collect();
    let mut known: Vec<String> =
        SHIPPED.iter().map(|(name, _)| (*name).to_owned()).filter(|name| name != "nginx.conf").collect();
    found.sort_unstable();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[tokio::test]
async fn the_file_of_every_kind_is_accepted() {
    let address = free_address().unwrap();
    let mut site = "include keyward/http.conf;\nmap $host $keyward_scheme { default http; }\n\
                    map $host $keyward_host { default $host; }\nmap $host $keyward_signed_out { default \"\"; }\n\
                    upstream keyward { server 127.0.0.1:9; }\n"
        .to_owned();
    for kind in KINDS {
        let file = std::fs::read_to_string(format!("examples/nginx/keyward/{}.inc", kind.name)).unwrap();
        let upstream = file.split_once("set $keyward_upstream ").unwrap().1.split(';').next().unwrap();
        let server =
            format!("server {{ listen {address}; server_name {0}.test; include keyward/{0}.inc; }}", kind.name);
        site.push_str(&format!("upstream {upstream} {{ server 127.0.0.1:9; }}\n{server}\n"));
    }
    let more = "include keyward/portal.inc; include keyward/epixel-host.inc;";
    site.push_str(&format!("server {{ listen {address}; server_name portal.test; {more} }}\n"));
    site.push_str("upstream portal { server 127.0.0.1:9; }\n");
    let directory = tempfile::tempdir().unwrap();
    let nginx = Nginx::start_shipped(directory.path(), &site, address).await;
    assert!(nginx.is_ok(), "{nginx:?}");
}

/// The longest time in seconds that a key of this name has in a part of the reference.
fn longest(part: &str, key: &str) -> u64 {
    let lines = part.lines().map(|line| line.trim_start_matches("# "));
    let values = lines.filter_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix("= \""));
    let seconds = values.filter_map(|value| value.split("s\"").next().unwrap().parse().ok());
    seconds.max().unwrap()
}

#[test]
fn nginx_waits_longer_than_a_portal_and_a_login_may_take() {
    let reference = include_str!("../../conf/keyward.toml");
    let (portals, backends) = reference.split_once("\n# A back-end:").unwrap();
    let together = longest(portals, "timeout") + longest(backends, "login_timeout");
    for name in ["keyward/ask.inc", "keyward/call.inc"] {
        let (_, file) = SHIPPED.iter().find(|(shipped, _)| *shipped == name).unwrap();
        let line = file.lines().find_map(|line| line.strip_prefix("proxy_read_timeout")).unwrap();
        let waits: u64 = line.trim().trim_end_matches("s;").parse().unwrap();
        assert!(waits > together, "{name} waits {waits} s, and {together} s may pass");
    }
}
