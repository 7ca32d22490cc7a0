-- The tables of the order examples, for PostgreSQL and SQLite. Running it again changes nothing.
create table if not exists inventory (
  product_id text primary key,
  available integer not null,
  reserved integer not null default 0
);

create table if not exists orders (
  order_id text primary key,
  customer_id text not null,
  status text not null,
  order_total double precision not null,
  shipping_cost double precision,
  fraud_score double precision,
  updated_at text not null
);

insert into inventory (product_id, available) values
  ('PROD-1', 100000),
  ('PROD-2', 100000),
  ('PROD-SOLD-OUT', 0)
on conflict (product_id) do nothing;

-- The tables of the saga. Their constraints are how its steps fail on demand.
create table if not exists reservations (
  order_id text not null,
  status text not null check (status in ('reserved', 'released'))
);

create table if not exists payments (
  order_id text not null,
  customer_id text not null,
  amount double precision not null check (amount > 0),
  status text not null check (status in ('charged', 'refunded')),
  reason text
);

create table if not exists shipments (
  order_id text not null,
  status text not null check (status in ('created', 'cancelled'))
);

create table if not exists confirmations (
  order_id text not null,
  customer_id text not null,
  status text not null check (status in ('sent', 'recalled'))
);
