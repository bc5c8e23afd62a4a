//! The files of nginx. Those that hold nothing of the configuration lie in `examples/nginx/`, as they are; the others
//! are templates.

/// The administrator's.
pub(super) const SITE: &str = include_str!("../templates/nginx/site.conf");

/// Once in each `server { }`.
pub(super) const SERVER: &str = include_str!("../../../examples/nginx/keyward/server.inc");
/// How it asks.
pub(super) const OVER_HTTP: &str = "    proxy_pass http://keyward/authz/auth-request;\n    include keyward/ask.inc;\n";
/// How it asks instead.
pub(super) const OVER_FASTCGI: &str = "    include keyward/ask-fastcgi.inc;\n";
/// What that file says.
pub(super) const ASK_FASTCGI: &str = include_str!("../templates/nginx/ask-fastcgi.inc");

/// Those with places.
pub(super) const TEMPLATES: [(&str, &str); 5] = [
    ("keyward/http.conf", include_str!("../templates/nginx/http.conf")),
    ("keyward/ask.inc", include_str!("../templates/nginx/ask.inc")),
    ("keyward/answer.inc", include_str!("../templates/nginx/answer.inc")),
    ("keyward/call.inc", include_str!("../templates/nginx/call.inc")),
    ("keyward/forward.inc", include_str!("../templates/nginx/forward.inc")),
];

/// Those that are the same for everybody, but for the applications'.
pub(super) const FIXED: [(&str, &str); 8] = [
    ("keyward/server.inc", SERVER),
    ("keyward/protected.inc", include_str!("../../../examples/nginx/keyward/protected.inc")),
    ("keyward/upstream.inc", include_str!("../../../examples/nginx/keyward/upstream.inc")),
    ("keyward/page.inc", include_str!("../../../examples/nginx/keyward/page.inc")),
    ("keyward/style.inc", include_str!("../../../examples/nginx/keyward/style.inc")),
    ("keyward/portal.inc", include_str!("../../../examples/nginx/keyward/portal.inc")),
    ("keyward/one-time-token.inc", include_str!("../../../examples/nginx/keyward/one-time-token.inc")),
    ("keyward/epixel-host.inc", include_str!("../../../examples/nginx/keyward/epixel-host.inc")),
];

/// What nginx must know of a kind of application.
pub(super) struct Application {
    /// The kind.
    pub kind: &'static str,
    /// Where its file lies.
    pub path: &'static str,
    /// Its file: a whole `server { }`.
    pub file: &'static str,
    /// The largest body that it takes, in MiB.
    pub body: u32,
    /// What its file says inside of `location / { }`, where it can live below a path and beside others on one
    /// host. `None` where its file says more, or its cookies and links are those of the root.
    pub beside_others: Option<&'static str>,
}

/// One line for each kind of back-end.
pub(super) const APPLICATIONS: [Application; 8] = [
    Application {
        kind: "axigen",
        path: "keyward/axigen.inc",
        file: include_str!("../../../examples/nginx/keyward/axigen.inc"),
        body: 32,
        beside_others: None,
    },
    Application {
        kind: "roundcube",
        path: "keyward/roundcube.inc",
        file: include_str!("../../../examples/nginx/keyward/roundcube.inc"),
        body: 32,
        beside_others: Some("        if ($arg__task = logout) { return 302 $keyward_logout; }\n"),
    },
    Application {
        kind: "open-xchange",
        path: "keyward/open-xchange.inc",
        file: include_str!("../../../examples/nginx/keyward/open-xchange.inc"),
        body: 100,
        beside_others: None,
    },
    Application {
        kind: "sogo",
        path: "keyward/sogo.inc",
        file: include_str!("../../../examples/nginx/keyward/sogo.inc"),
        body: 32,
        beside_others: None,
    },
    Application {
        kind: "zimbra",
        path: "keyward/zimbra.inc",
        file: include_str!("../../../examples/nginx/keyward/zimbra.inc"),
        body: 32,
        beside_others: None,
    },
    Application {
        kind: "websydian",
        path: "keyward/websydian.inc",
        file: include_str!("../../../examples/nginx/keyward/websydian.inc"),
        body: 32,
        beside_others: Some("        if ($arg_ssopwd) { return 403; }\n"),
    },
    Application {
        kind: "epixel",
        path: "keyward/epixel.inc",
        file: include_str!("../../../examples/nginx/keyward/epixel.inc"),
        body: 32,
        beside_others: None,
    },
    Application {
        kind: "form",
        path: "keyward/form.inc",
        file: include_str!("../../../examples/nginx/keyward/form.inc"),
        body: 32,
        beside_others: Some(""),
    },
];
