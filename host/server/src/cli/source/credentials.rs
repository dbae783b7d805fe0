//! Credentials for registries: given on the command line, or stored by `docker login`.

use docker_credential::{CredentialRetrievalError, DockerCredential};
use http::HeaderValue;
use http_auth::basic::encode_credentials;
use weir_domain::credential::Secret;

/// The user of a registry.
pub(super) enum Credentials {
    None,
    Password {
        user: String,
        password: Secret,
    },
    /// Credentials exist, with the reason why they cannot be used. A registry may allow anonymous reads, so this fails
    /// only if credentials are required.
    Unreadable(String),
}

/// The key under which `docker login` stores Docker Hub's credentials.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

impl Credentials {
    pub(super) fn password(user: String, password: String) -> Self {
        Self::Password {
            user,
            password: Secret::new(password),
        }
    }

    /// The credentials that `docker login HOST` stored: in `config.json` of `DOCKER_CONFIG` (default: `~/.docker`), or
    /// with the credential helper that it names.
    pub(super) fn of_docker(host: &str) -> Self {
        let server = match host {
            super::reference::DOCKER_HUB => DOCKER_HUB,
            host => host,
        };
        docker_credential::get_credential(server).into()
    }

    /// The `Authorization` header (RFC 7617).
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let Self::Password { user, password } = self else {
            return None;
        };
        let mut value: HeaderValue = encode_credentials(user, password.expose())
            .parse()
            .expect("base64 is a valid header value");
        value.set_sensitive(true);
        Some(value)
    }
}

impl From<Result<DockerCredential, CredentialRetrievalError>> for Credentials {
    fn from(stored: Result<DockerCredential, CredentialRetrievalError>) -> Self {
        use CredentialRetrievalError as E;
        match stored {
            Ok(DockerCredential::UsernamePassword(user, password)) => Self::password(user, password),
            Ok(DockerCredential::IdentityToken(_)) => {
                Self::Unreadable("an identity token is stored, and only passwords are supported".to_owned())
            }
            // A file that does not exist is a `ConfigReadError`, too.
            Err(E::ConfigNotFound | E::ConfigReadError | E::NoCredentialConfigured) => Self::None,
            // The output of helpers that have no credentials for a server.
            Err(E::HelperFailure { stdout, .. }) if stdout.contains("credentials not found") => Self::None,
            Err(E::HelperFailure { helper, stdout, stderr }) => {
                let words = [stderr.trim(), stdout.trim()]
                    .into_iter()
                    .find(|words| !words.is_empty());
                Self::Unreadable(format!("{helper}: {}", words.unwrap_or("failed")))
            }
            Err(E::HelperCommunicationError) => Self::Unreadable(
                "Docker's credential helper cannot be run, or exited without reading its input".to_owned(),
            ),
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_credentials_are_mapped() {
        let user = |stored: Result<_, _>| match Credentials::from(stored) {
            Credentials::None => "none".to_owned(),
            Credentials::Password { user, password } => format!("{user}:{}", password.expose()),
            Credentials::Unreadable(reason) => reason,
        };
        let failure = |stdout: &str, stderr: &str| CredentialRetrievalError::HelperFailure {
            helper: "docker-credential-vault".into(),
            stdout: stdout.into(),
            stderr: stderr.into(),
        };
        let password = DockerCredential::UsernamePassword("jane".into(), "secret".into());
        assert_eq!(user(Ok(password)), "jane:secret");
        let token = user(Ok(DockerCredential::IdentityToken("secret".into())));
        assert!(token.contains("identity token") && !token.contains("secret"), "{token}");
        for error in [
            CredentialRetrievalError::ConfigNotFound,
            CredentialRetrievalError::ConfigReadError,
            CredentialRetrievalError::NoCredentialConfigured,
            failure("credentials not found in native keychain\n", ""),
        ] {
            assert_eq!(user(Err(error)), "none");
        }
        assert_eq!(user(Err(failure("", "locked\n"))), "docker-credential-vault: locked");
        assert_eq!(user(Err(failure("", ""))), "docker-credential-vault: failed");
    }

    #[test]
    fn basic_credentials_are_encoded() {
        let header = Credentials::password("jane".into(), "secret".into()).basic();
        assert_eq!(header.expect("a header"), "Basic amFuZTpzZWNyZXQ=");
        assert!(Credentials::None.basic().is_none());
    }
}
