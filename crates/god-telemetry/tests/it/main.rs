//! What is told arrives: mail at a real SMTP server, events at a real Redis, points in a real InfluxDB.

mod influx;
mod live;
mod mail;
mod world;
