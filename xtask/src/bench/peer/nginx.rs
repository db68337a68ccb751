//! nginx with its stream module, one worker: the servers have one core.

use std::net::SocketAddrV4;
use std::path::Path;

use anyhow::Result;

use super::{SERVICE, Service, Transport, Up, file};
use crate::bench::Bench;
use crate::bench::peer::process::spawn;
use crate::bench::place::Place;

/// Where distributions put the module if it is one of its own.
const MODULES: [&str; 2] =
    ["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"];

pub(super) fn up(bench: &Bench, place: &Place, service: &Service) -> Result<Up> {
    let configuration = file(bench, "nginx.conf", &configuration(&bench.folder, service))?;
    let mut nginx = place.command("nginx");
    nginx.args(["-e", "stderr", "-c"]).arg(configuration);
    spawn(bench, nginx, place, SocketAddrV4::new(crate::lan::SERVER, SERVICE), service.transport)
}

fn configuration(folder: &Path, service: &Service) -> String {
    let module = MODULES.into_iter().find(|module| Path::new(module).exists());
    let load = module.map(|module| format!("load_module {module};\n")).unwrap_or_default();
    let servers: String = service
        .instances
        .iter()
        .map(|port| ["  server 127.0.0.1:", &port.to_string(), ";\n"].concat())
        .collect();
    let datagrams = match service.transport {
        Transport::Tcp => "",
        Transport::Udp => " udp; proxy_timeout 10s",
    };
    format!(
        "{load}daemon off;\nmaster_process off;\nworker_rlimit_nofile 60000;\npid {}/nginx.pid;\n\
         events {{ worker_connections 20000; }}\nstream {{\n upstream instances {{\n  random;\n{servers} }}\n \
         server {{ listen {SERVICE}{datagrams}; proxy_pass instances; }}\n}}\n",
        folder.display(),
    )
}
