/// How an application's key comes into the query of what it is asked (`url_key`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UrlKey {
    /// The web server puts it in on the way, and the browser never sees it.
    #[default]
    Upstream,
    /// Whoever opens a page is sent to its address with the key in it, for web servers that cannot change a query.
    Address,
}
