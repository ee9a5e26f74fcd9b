//! The rules of admission, from the configuration.

use crate::executors::TABLE;
use god_config::Config;
use god_core::admission::{Constraint, DynamicField, ExecutorRules, GuestRules, Site};
use god_core::executor::Executor;
use god_core::units::Seconds;
use std::sync::Arc;

/// The site's rules. Whether it is in maintenance is not the configuration's to say: `false` here.
#[must_use]
pub fn site(config: &Config, executors: &[Arc<dyn Executor>]) -> Site {
    let scheduling = &config.scheduling;
    let limited = scheduling.watchers.iter().any(|name| name == "maxlifespan");
    Site {
        maintenance: false,
        allow_root: config.base.allow_root,
        guests: config.guests.allow.then_some(GuestRules { allow_root: config.guests.allow_root }),
        images: config.images.proposed.iter().map(|image| image.url.clone()).collect(),
        allow_user_images: config.images.allow_user_images,
        constraints: scheduling
            .constraints
            .iter()
            .map(|c| Constraint { name: c.name.clone(), values: c.values.clone() })
            .collect(),
        executors: executors.iter().map(rules).collect(),
        networks: vec!["public".to_owned()],
        failure_policy: scheduling.max_restarts,
        default_cpu: config.base.defaults_cpu,
        default_ram: config.base.defaults_ram_gb,
        array_max: u64::from(config.base.array_max),
        script_max: usize::try_from(config.base.script_max_bytes).unwrap_or(usize::MAX),
        min_uid: config.base.min_uid,
        min_gid: config.base.min_uid,
        time_limit_default: scheduling.max_lifespan_seconds.filter(|_| limited).map(Seconds),
        time_limit_max: None,
        dynamic_fields: scheduling
            .dynamic_fields
            .iter()
            .map(|field| DynamicField { name: field.name.clone(), admin_only: field.admin_only })
            .collect(),
        mail: config.mail.is_some(),
    }
}

fn rules(executor: &Arc<dyn Executor>) -> ExecutorRules {
    let name = executor.name().as_str();
    ExecutorRules {
        name: name.to_owned(),
        features: executor.features().iter().map(|word| (*word).to_owned()).collect(),
        images: TABLE.iter().any(|(known, row)| *known == name && row.images),
    }
}
