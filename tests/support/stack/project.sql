-- Once a template database: what a new Supabase project holds. Run by supabase_admin.
create schema extensions;
grant usage on schema extensions to postgres, anon, authenticated, service_role;
create extension pgcrypto with schema extensions;

grant usage on schema public to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on sequences to postgres, anon, authenticated, service_role;

-- A stand-in for supabase_vault: the objects, signatures and grants of the real one, and its trap:
-- create_secret writes the plaintext into a row before it encrypts it, update_secret does not.
create schema vault;
create table vault.secrets (
    id uuid primary key default gen_random_uuid(),
    name text,
    description text not null default '',
    secret text not null,
    key_id uuid,
    nonce bytea,
    created_at timestamptz not null default current_timestamp,
    updated_at timestamptz not null default current_timestamp
);
create unique index secrets_name_idx on vault.secrets (name) where name is not null;

create function vault._key() returns text language sql immutable set search_path = ''
    as $$ select 'root key of the stand-in'::text $$;
create function vault._encrypt(value text) returns text language sql set search_path = ''
    as $$ select encode(extensions.pgp_sym_encrypt(value, vault._key()), 'base64') $$;
create function vault._decrypt(value text) returns text language sql stable security definer
    set search_path = '' as $$ select extensions.pgp_sym_decrypt(decode(value, 'base64'), vault._key()) $$;
revoke all on all functions in schema vault from public;

create view vault.decrypted_secrets as
    select id, name, description, secret, vault._decrypt(secret) as decrypted_secret, key_id,
        nonce, created_at, updated_at
    from vault.secrets;

create function vault.create_secret(
    new_secret text, new_name text default null, new_description text default '',
    new_key_id uuid default null
) returns uuid language plpgsql security definer set search_path = '' as $$
declare made uuid;
begin
    insert into vault.secrets (secret, name, description)
        values (new_secret, new_name, new_description) returning id into made;
    update vault.secrets set secret = vault._encrypt(new_secret) where id = made;
    return made;
end $$;

create function vault.update_secret(
    secret_id uuid, new_secret text default null, new_name text default null,
    new_description text default null, new_key_id uuid default null
) returns void language plpgsql security definer set search_path = '' as $$
begin
    update vault.secrets set
        secret = case when new_secret is null then secret else vault._encrypt(new_secret) end,
        name = coalesce(new_name, name),
        description = coalesce(new_description, description),
        updated_at = now()
    where id = secret_id;
end $$;

revoke all on all functions in schema vault from public;
grant usage on schema vault to postgres, service_role;
grant select, delete on vault.secrets, vault.decrypted_secrets to postgres with grant option;
grant select, delete on vault.secrets, vault.decrypted_secrets to service_role;
grant execute on function vault.create_secret, vault.update_secret, vault._decrypt
    to postgres, service_role;
