//! What is told arrives: mail at a real SMTP server, events at a real Redis, points in a real InfluxDB.

mod flow;
mod influx;
mod live;
mod mail;
mod world;
