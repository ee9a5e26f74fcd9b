//! Container networks, host ports, and the images that users may run.

use crate::reader::Section;

/// Container networks and host ports.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Network {
    /// Containers have no network at all.
    pub disabled: bool,
    /// Network plugin that gives each container its own address; `None`: host ports are mapped.
    pub cni: Option<Cni>,
    /// Host ports.
    pub ports: Ports,
}

/// A network plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cni {
    /// Which plugin.
    pub plugin: CniPlugin,
    /// Name of the network that is offered to users as `public`.
    pub public_network: String,
}

/// The network plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CniPlugin {
    /// Weave Net.
    Weave,
    /// Calico.
    Calico,
}

/// Host ports for containers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ports {
    /// `true`: ports come from the range; `false`: the host port is the container port.
    pub allocate: bool,
    /// First port of the range.
    pub start: u16,
    /// How many ports the range has; `start + range - 1` is a valid port.
    pub range: u16,
}

impl Default for Network {
    fn default() -> Network {
        Network { disabled: false, cni: None, ports: Ports { allocate: true, start: 10_000, range: 1_000 } }
    }
}

impl Network {
    pub(crate) fn read(root: &mut Section<'_>) -> Network {
        let default = Network::default();
        let mut section = root.section("network");
        let disabled = section.flag("disabled").unwrap_or(default.disabled);
        let cni = cni(&mut section);
        section.finish();
        Network { disabled, cni, ports: ports(root, default.ports) }
    }
}

fn cni(section: &mut Section<'_>) -> Option<Cni> {
    const ACCEPTED: &str = "accepted: weave, calico, or null";
    let is_used = section.flag("use_cni").unwrap_or(false);
    let name = section.text("cni_plugin");
    let public_network = section.text("cni_public_network_name");
    let plugin = match name.as_deref() {
        Some("weave") => CniPlugin::Weave,
        Some("calico") => CniPlugin::Calico,
        Some(other) => {
            section.fault("cni_plugin", format!("no network plugin named `{other}`"), ACCEPTED);
            return None;
        }
        None if is_used => {
            section.missing("cni_plugin", "accepted: weave or calico, since use_cni is on");
            return None;
        }
        None => return None,
    };
    let public_network = public_network.or(name).unwrap_or_default();
    is_used.then_some(Cni { plugin, public_network })
}

fn ports(root: &mut Section<'_>, default: Ports) -> Ports {
    let allocate = root.flag("port_allocate").unwrap_or(default.allocate);
    let start = root.port("port_start").unwrap_or(default.start);
    let range = root.port("port_range").unwrap_or(default.range);
    let last = u32::from(start) + u32::from(range) - 1;
    if last > u32::from(u16::MAX) {
        let key = if root.has("port_range") { "port_range" } else { "port_start" };
        root.fault(
            key,
            format!("the range ends at port {last}"),
            "accepted: port_start + port_range - 1 up to 65535",
        );
    }
    Ports { allocate, start, range }
}

/// The images that users may run.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Images {
    /// Images proposed to users, in the order of the file.
    pub proposed: Vec<Image>,
    /// Whether users may name any other image.
    pub allow_user_images: bool,
    /// `host[:port]` put before image names, without a `/` at its end.
    pub private_registry: Option<String>,
    /// Links from an image to its page.
    pub registry_links: Vec<RegistryLink>,
}

/// One image proposed to users.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// Name shown to users.
    pub name: String,
    /// The image reference.
    pub url: String,
    /// Whether interactive sessions work in it.
    pub interactive: bool,
    /// Whether it is chosen when a task names none.
    pub is_default: bool,
}

/// A link from an image to its page in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryLink {
    /// Name shown to users.
    pub name: String,
    /// URL in which `$IMAGE` stands for the image.
    pub url: String,
}

impl Images {
    pub(crate) fn read(root: &mut Section<'_>) -> Images {
        let mut proposed: Vec<Image> = Vec::new();
        for mut item in root.sections("default_images").unwrap_or_default() {
            let name = required_text(&mut item, "name");
            let url = required_text(&mut item, "url");
            let interactive = item.flag("interactive").unwrap_or(false);
            let is_default = item.flag("default").unwrap_or(false);
            if is_default && proposed.iter().any(|image| image.is_default) {
                item.warn("default", "another image is the default already; the first one is used", "");
            }
            if let (Some(name), Some(url)) = (name, url) {
                proposed.push(Image { name, url, interactive, is_default });
            }
            item.finish();
        }
        let mut registry_links = Vec::new();
        for mut item in root.sections("link_image_to_registry").unwrap_or_default() {
            if let (Some(name), Some(url)) =
                (required_text(&mut item, "name"), required_text(&mut item, "url"))
            {
                registry_links.push(RegistryLink { name, url });
            }
            item.finish();
        }
        Images {
            proposed,
            allow_user_images: root.flag("allow_user_images").unwrap_or(false),
            private_registry: private_registry(root),
            registry_links,
        }
    }
}

fn private_registry(root: &mut Section<'_>) -> Option<String> {
    let text = root.text("use_private_registry")?;
    let host = text.trim_end_matches('/');
    if host.is_empty() || host.contains("://") || host.contains(char::is_whitespace) {
        root.fault(
            "use_private_registry",
            format!("`{text}` is not a registry"),
            "accepted: host or host:port",
        );
        return None;
    }
    Some(host.to_owned())
}

/// A text that must be there.
pub(crate) fn required_text(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let is_absent = section.node(key).is_none();
    let text = section.text(key);
    if is_absent {
        section.missing(key, "accepted: a text");
    }
    text
}
