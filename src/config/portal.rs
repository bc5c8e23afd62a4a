use super::roles::read_role_map;
use super::section::Section;

/// One `[[portal]]`. What its kind wants stands in `section`, to be read and finished by the kind.
pub struct PortalSettings {
    /// Its name, unique.
    pub name: String,
    /// Its kind, not looked up yet.
    pub kind: String,
    /// Where people sign in; `{url}` stands for the address to return to. May be left out where the kind has a
    /// page of its own.
    pub login_url: Option<String>,
    /// `[portal.roles]`: the portal's word for a role to ours; empty for "as they are".
    pub roles: Vec<(String, String)>,
    /// The rest.
    pub section: Section,
}

impl PortalSettings {
    pub(super) fn read_all(root: &mut Section) -> Vec<Self> {
        let mut portals: Vec<Self> = Vec::new();
        for mut section in root.sections("portal", "name") {
            let name = section.name(portals.iter().map(|portal| &portal.name));
            let kind = section.required("kind");
            let login_url = section.text("login_url");
            let roles = read_role_map(&mut section);
            portals.push(Self { name, kind, login_url, roles, section });
        }
        portals
    }
}
