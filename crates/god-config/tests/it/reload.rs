//! Which changes need a restart.

use crate::loaded;

#[test]
fn keys_that_need_a_restart_are_named() {
    let old = loaded("").config;
    assert_eq!(old.restart_keys(&old), Vec::<&str>::new());
    assert_eq!(old.restart_keys(&loaded("max_job_pop: 7\nrate_limit: 3\n").config), Vec::<&str>::new());
    let new = loaded("store: memory\nredis_db: 2\nexecutor: fake\nweb: {listen: '0.0.0.0:80'}\ncluster: b\n")
        .config;
    assert_eq!(old.restart_keys(&new), ["cluster", "store", "redis_host", "executors", "web.listen"]);
}
