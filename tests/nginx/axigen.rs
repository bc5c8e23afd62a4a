//! What `keyward/axigen.inc` does beyond what every host does.

use crate::house::{House, MAIL};

#[tokio::test]
async fn axigens_own_ways_to_change_a_password_are_closed() {
    let house = House::allowing().await;
    for path in [
        "/api/v1/account/password/reset",
        "/api/v1/account/password/set",
        "/api/v1/account/password",
        "/api/v1/recover/",
        "/api/v1/recover/start",
        "/API/V1/Account/Password/reset",
        "//api//v1/account//password/reset",
        "/api/v1/account/./password/reset",
        "/api/v1/x/../account/password/reset",
        "/api/v1/account/%70assword/reset",
        "/api/v1%2Faccount/password/reset",
        "/api/v1/account;x/password;y/reset",
        "/api;x/v1;y/recover",
    ] {
        assert_eq!(house.ask(MAIL, &format!("POST {path}"), &["Cookie: portal=T"]).status(), 403, "{path}");
        assert!(house.application.take().is_empty(), "{path}");
    }
    for path in ["/api/v1/account/info", "/api/v1/accounts", "/?x=/api/v1/recover/"] {
        house.keyward.take();
        assert_eq!(house.ask(MAIL, &format!("GET {path}"), &["Cookie: portal=T"]).status(), 200, "{path}");
        assert!(house.application.only().asked().starts_with(&format!("GET {path}")), "{path}");
    }
}
