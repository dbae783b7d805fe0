//! A minimal browser for logins: it follows redirects one by one and keeps cookies.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use url::Url;

/// A browser with its cookies, by origin.
#[derive(Debug)]
pub struct Browser {
    client: reqwest::Client,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

impl Browser {
    /// One without cookies.
    pub fn new(client: reqwest::Client) -> Self {
        Self {
            client,
            cookies: BTreeMap::new(),
        }
    }

    /// Opens a page and follows redirects up to the next page that is shown: where that is, its status and its text.
    ///
    /// # Errors
    /// A page does not respond, or the redirects do not end.
    pub async fn open(&mut self, url: Url) -> anyhow::Result<(Url, u16, String)> {
        let mut url = url;
        for _ in 0..8 {
            let answer = self.send(self.client.get(url.clone()), &url).await?;
            match self.redirect(&url, &answer)? {
                Some(next) => url = next,
                None => return Ok((url, answer.status().as_u16(), answer.text().await?)),
            }
        }
        anyhow::bail!("{url} redirects endlessly")
    }

    /// Sends a form and follows redirects.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn submit(&mut self, url: Url, fields: &[(&str, &str)]) -> anyhow::Result<(Url, u16, String)> {
        let answer = self.post(&url, fields).await?;
        match self.redirect(&url, &answer)? {
            Some(next) => self.open(next).await,
            None => Ok((url, answer.status().as_u16(), answer.text().await?)),
        }
    }

    /// Submits TikTok's consent page as `account`: grants everything, or denies.
    ///
    /// # Errors
    /// There is no consent page at the end of `url`.
    pub async fn consent(&mut self, url: &str, account: &str, decision: &str) -> anyhow::Result<(Url, u16, String)> {
        self.consent_to(url, account, decision, &["*"]).await
    }

    /// As [`Self::consent`], granting only some scopes.
    ///
    /// # Errors
    /// As [`Self::consent`].
    pub async fn consent_to(
        &mut self,
        url: &str,
        account: &str,
        decision: &str,
        granted: &[&str],
    ) -> anyhow::Result<(Url, u16, String)> {
        let callback = self.decide(url, account, decision, granted).await?;
        self.open(callback).await
    }

    /// As [`Self::consent_to`], but does not follow TikTok's last redirect: returns its URL.
    ///
    /// # Errors
    /// As [`Self::consent`], or TikTok shows a page instead.
    pub async fn decide(&mut self, url: &str, account: &str, decision: &str, granted: &[&str]) -> anyhow::Result<Url> {
        let (at, status, page) = self.open(url.parse().context("the connect session's URL")?).await?;
        ensure!(
            status == 200 && at.path().starts_with("/v2/auth/authorize"),
            "no consent page at {at}: {status} {page}"
        );
        let query: BTreeMap<String, String> = at.query_pairs().into_owned().collect();
        let field = |name: &str| query.get(name).map_or("", String::as_str);
        let mut form = vec![
            ("client_key", field("client_key")),
            ("redirect_uri", field("redirect_uri")),
            ("state", field("state")),
            ("scope", field("scope")),
            ("account", account),
            ("decision", decision),
        ];
        form.extend(granted.iter().map(|scope| ("granted", *scope)));
        let answer = self.post(&at, &form).await?;
        self.redirect(&at, &answer)?
            .with_context(|| format!("{at} sends the browser nowhere: {}", answer.status()))
    }

    async fn post(&mut self, url: &Url, fields: &[(&str, &str)]) -> anyhow::Result<reqwest::Response> {
        let body: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self
            .client
            .post(url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        self.send(request, url).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder, url: &Url) -> anyhow::Result<reqwest::Response> {
        let origin = url.origin().ascii_serialization();
        let cookies: Vec<String> = self
            .cookies
            .get(&origin)
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = if cookies.is_empty() {
            request
        } else {
            request.header("cookie", cookies.join("; "))
        };
        let answer = request.send().await.with_context(|| format!("{url} does not answer"))?;
        for cookie in answer.headers().get_all("set-cookie") {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies
                    .entry(origin.clone())
                    .or_default()
                    .insert(name.trim().to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }

    fn redirect(&self, from: &Url, answer: &reqwest::Response) -> anyhow::Result<Option<Url>> {
        if !answer.status().is_redirection() {
            return Ok(None);
        }
        let to = answer
            .headers()
            .get("location")
            .context("a redirect without a location")?
            .to_str()?;
        Ok(Some(from.join(to)?))
    }
}
