//! Authentication plugins.

use crate::{PluginError, find, names};
use god_config::Config;
use god_core::BoxError;
use god_core::auth::Auth;
use god_core::store::Store;
use std::sync::Arc;

type Build = fn(&Config, Arc<dyn Store>) -> Result<Arc<dyn Auth>, BoxError>;

/// Constructors.
const TABLE: &[(&str, Build)] = &[
    (auth_local::NAME, |_, store| Ok(Arc::new(auth_local::LocalAuth::new(store)))),
    #[cfg(feature = "goauth")]
    (auth_ldap::NAME, ldap),
];

/// The names of the table.
pub(crate) const NAMES: &[&str] = &names::<_, { TABLE.len() }>(TABLE);

/// The configured authentication.
///
/// # Errors
/// [`PluginError`]: it is not built in, or can not be made from what the configuration says.
pub fn auth(config: &Config, store: Arc<dyn Store>) -> Result<Arc<dyn Auth>, PluginError> {
    const KIND: &str = "authentication plugin";
    let name = &config.auth.policy;
    let build = find(KIND, TABLE, name)?;
    build(config, store).map_err(|source| PluginError::Failed { kind: KIND, name: name.clone(), source })
}

#[cfg(feature = "goauth")]
fn ldap(config: &Config, _store: Arc<dyn Store>) -> Result<Arc<dyn Auth>, BoxError> {
    use auth_ldap::{LdapAuth, Options, Searcher, Security};
    use god_config::LdapSecurity;
    use std::time::Duration;

    let ldap = &config.auth.ldap;
    let missing = |key: &str| format!("{key}: this key must be set");
    let host = ldap.host.clone().ok_or_else(|| missing("ldap_host"))?;
    let root = ldap.dn.clone().ok_or_else(|| missing("ldap_dn"))?;
    Ok(Arc::new(LdapAuth::new(Options {
        host,
        port: ldap.port,
        security: match ldap.security {
            LdapSecurity::Tls => Security::Tls,
            LdapSecurity::StartTls => Security::StartTls,
            LdapSecurity::Plain => Security::Plain,
        },
        ca_file: ldap.ca_cert.clone(),
        user_base: format!("{},{root}", ldap.base_dn_filter),
        group_base: root,
        searcher: ldap.admin_dn.clone().map(|dn| Searcher {
            dn,
            password: ldap
                .admin_password
                .as_ref()
                .map_or_else(String::new, |secret| secret.reveal().to_owned()),
        }),
        home_field: ldap.home_field.clone(),
        timeout: Duration::from_secs(ldap.timeout_seconds),
    })?))
}
