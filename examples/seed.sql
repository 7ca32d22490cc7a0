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
