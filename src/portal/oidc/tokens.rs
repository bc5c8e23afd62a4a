//! The provider's token endpoint (RFC 6749), and what comes from there.

use std::borrow::Cow;
use std::sync::Arc;

use oauth2::basic::{BasicErrorResponse, BasicErrorResponseType, BasicTokenType};
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeVerifier,
    RedirectUrl, RefreshToken, RequestTokenError, StandardTokenResponse, TokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::provider::{Known, Provider, wrong};
use super::settings::Settings;
use crate::domain::{ExposeSecret, Outage};
use crate::wire::{Answer, Method, Request};

/// What OpenID Connect and Keycloak add to the answer.
#[derive(Deserialize, Serialize)]
pub(super) struct Extra {
    id_token: Option<String>,
    /// Keycloak's: how long the refresh token may lie idle, in seconds; 0 for ever.
    refresh_expires_in: Option<u64>,
}

impl std::fmt::Debug for Extra {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Extra(…)")
    }
}

impl ExtraTokenFields for Extra {}

type Response = StandardTokenResponse<Extra, BasicTokenType>;
type Client = oauth2::Client<
    BasicErrorResponse,
    Response,
    oauth2::basic::BasicTokenIntrospectionResponse,
    oauth2::StandardRevocableToken,
    oauth2::basic::BasicRevocationErrorResponse,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointNotSet,
    oauth2::EndpointSet,
>;

/// What the provider gave.
pub(super) struct Granted {
    pub access: String,
    /// How long the access token is good, in seconds.
    pub expires_in: Option<u64>,
    pub refresh: Option<String>,
    /// The same of the refresh token.
    pub refresh_expires_in: Option<u64>,
    pub id: Option<String>,
}

/// Why the provider gave nothing, although it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the code or the refresh token is not good any more")]
    InvalidGrant,
    #[error("the provider does not take this client; see client_id and client_secret")]
    Client,
    #[error("the provider refused the request")]
    Other,
}

/// Changes a code for tokens.
pub(super) async fn for_code(
    provider: &Arc<Provider>,
    settings: &Settings,
    code: String,
    verifier: String,
    callback: &str,
) -> Result<Result<Granted, Refusal>, Outage> {
    let known = provider.known().await?;
    let client = client(&known, settings)?;
    let callback = RedirectUrl::new(callback.to_owned()).map_err(|_| wrong("our own address is none"))?;
    let request = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(PkceCodeVerifier::new(verifier));
    let request = request.set_redirect_uri(Cow::Owned(callback));
    let answer = request.request_async(&|request| send(Arc::clone(provider), Arc::clone(&known), request)).await;
    judge(provider, answer)
}

/// Changes a refresh token for new tokens.
pub(super) async fn for_refresh(
    provider: &Arc<Provider>,
    settings: &Settings,
    refresh: String,
) -> Result<Result<Granted, Refusal>, Outage> {
    let known = provider.known().await?;
    let client = client(&known, settings)?;
    let refresh = RefreshToken::new(refresh);
    let request = client.exchange_refresh_token(&refresh);
    let answer = request.request_async(&|request| send(Arc::clone(provider), Arc::clone(&known), request)).await;
    judge(provider, answer)
}

/// What the provider says of the person beside the tokens (OpenID Connect Core, section 5.3).
pub(super) async fn user_info(provider: &Arc<Provider>, access: &str) -> Result<Option<Value>, Outage> {
    let known = provider.known().await?;
    let Some(url) = &known.userinfo else { return Ok(None) };
    let bearer = format!("Bearer {access}");
    let answer = provider
        .send(url, |target| Request::get(target).header("authorization", bearer.as_bytes()).repeatable())
        .await?
        .or_outage()?;
    let json = answer.json().filter(|json| answer.status() == 200 && json.is_object());
    json.map(Some).ok_or(wrong("its userinfo is no JSON object"))
}

fn client(known: &Known, settings: &Settings) -> Result<Client, Outage> {
    let token =
        TokenUrl::new(known.token.as_str().to_owned()).map_err(|_| wrong("its token endpoint is no address"))?;
    let client = oauth2::Client::new(ClientId::new(settings.client_id.clone())).set_token_uri(token);
    let kind = if known.secret_in_form { AuthType::RequestBody } else { AuthType::BasicAuth };
    let client = client.set_auth_type(kind);
    Ok(match &settings.client_secret {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
        None => client,
    })
}

async fn send(provider: Arc<Provider>, known: Arc<Known>, request: HttpRequest) -> Result<HttpResponse, Outage> {
    let answer = provider
        .send(&known.token, |target| {
            let mut ours = Request::new(Method::POST, target);
            for (name, value) in request.headers() {
                ours = ours.header(name.clone(), value.as_bytes());
            }
            ours.body(request.body().clone())
        })
        .await?
        .or_outage()?;
    http(&answer)
}

fn http(answer: &Answer) -> Result<HttpResponse, Outage> {
    let mut response = HttpResponse::new(answer.text().into_owned().into_bytes());
    *response.status_mut() =
        oauth2::http::StatusCode::from_u16(answer.status()).map_err(|_| wrong("its status is none"))?;
    if let Some(kind) = answer.header("content-type").and_then(|kind| kind.parse().ok()) {
        response.headers_mut().insert(oauth2::http::header::CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// What is not understood is an outage: it says neither yes nor no.
fn judge(
    provider: &Provider,
    answer: Result<Response, RequestTokenError<Outage, BasicErrorResponse>>,
) -> Result<Result<Granted, Refusal>, Outage> {
    let outcome = match answer {
        Ok(response) if *response.token_type() != BasicTokenType::Bearer => Err(wrong("its token is no bearer token")),
        Ok(response) => Ok(Ok(Granted {
            access: response.access_token().secret().clone(),
            expires_in: response.expires_in().map(|time| time.as_secs()),
            refresh: response.refresh_token().map(|token| token.secret().clone()),
            refresh_expires_in: response.extra_fields().refresh_expires_in.filter(|seconds| *seconds > 0),
            id: response.extra_fields().id_token.clone(),
        })),
        Err(RequestTokenError::ServerResponse(response)) => Ok(Err(match response.error() {
            BasicErrorResponseType::InvalidGrant => Refusal::InvalidGrant,
            BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => Refusal::Client,
            BasicErrorResponseType::Extension(word) if word == "temporarily_unavailable" || word == "server_error" => {
                return Err(wrong("it says that it cannot answer now"));
            }
            _ => Refusal::Other,
        })),
        Err(RequestTokenError::Request(outage)) => Err(outage),
        Err(RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => Err(wrong("its tokens cannot be read")),
    };
    match &outcome {
        Ok(_) => provider.is_well(),
        Err(outage) => provider.failed(outage),
    }
    outcome
}
