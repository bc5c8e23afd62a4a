//! What people read where nobody answers: the web server's own page, in the words of Keyward's pages.

use super::fill;

const PAGE: &str = include_str!("templates/outage.html");

/// The page where Keyward cannot be reached.
pub fn of_keyward() -> String {
    fill(PAGE, &[("WHO", "The sign-in service"), ("REASON", "keyward_unreachable")])
}

/// The page where an application cannot be reached.
pub fn of_application() -> String {
    fill(PAGE, &[("WHO", "The application"), ("REASON", "application_unreachable")])
}
