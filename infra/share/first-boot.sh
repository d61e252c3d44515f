#!/bin/bash
# First boot of a machine: installs what the stack has pinned, mounts its data, has the agent run.
# Settings (ART32_...) come from infra/user_data.py. It needs bash, curl 7.75, python3 and dpkg, which
# Debian's cloud images have, and no AWS SDK.
#
# Credentials go to curl on standard input, never into arguments. What is fetched counts only when
# its SHA-256 is the one in the parameter `$ART32_PARAMETER`: lines as sha256sum writes them, of
# names in the artifact bucket. A public key counts when it has the fingerprint that is pinned.
set -euo pipefail
umask 022

settings=${ART32_SETTINGS:-/var/lib/art32/settings}
# shellcheck source=/dev/null
if [ -r "$settings" ]; then . "$settings"; fi

work=${ART32_WORK:-/var/lib/art32/first-boot}
fstab=${ART32_FSTAB:-/etc/fstab}
root=${ART32_ROOT:-}
empty=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

say() { echo "art32: $*"; }

request() { curl --silent --show-error --fail --max-time 60 --retry 10 --retry-all-errors "$@"; }

metadata() {
  local token
  token=$(request --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 300' \
    "$ART32_METADATA_URL/latest/api/token")
  printf 'header = "X-aws-ec2-metadata-token: %s"\n' "$token" |
    request --config - "$ART32_METADATA_URL/latest/$1"
}

# The role's credentials as a configuration of curl.
credentials() {
  local role
  role=$(metadata meta-data/iam/security-credentials/)
  metadata "meta-data/iam/security-credentials/$role" | python3 -c '
import json, sys
found = json.load(sys.stdin)
print("user = \"%(AccessKeyId)s:%(SecretAccessKey)s\"" % found)
if found.get("Token"):
    print("header = \"x-amz-security-token: %(Token)s\"" % found)'
}

parameter() {
  credentials | request --config - --aws-sigv4 "aws:amz:$ART32_REGION:ssm" \
    --header 'Content-Type: application/x-amz-json-1.1' \
    --header 'X-Amz-Target: AmazonSSM.GetParameter' \
    --data "{\"Name\": \"$1\"}" "$ART32_SSM_URL/" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["Parameter"]["Value"])'
}

# Fetch what a list of sums names, and check it: fetch_all LIST DIRECTORY-IN-THE-BUCKET
fetch_all() {
  local name
  while read -r _ name; do
    mkdir -p "$(dirname "$name")"
    credentials | request --config - --aws-sigv4 "aws:amz:$ART32_REGION:s3" \
      --header "x-amz-content-sha256: $empty" --output "$name" "$ART32_BUCKET_URL/$2$name"
  done <"$1"
  sha256sum --check --strict --quiet "$1"
}

attach_volume() {
  [ -n "$ART32_ATTACH" ] || return 0
  local instance
  instance=$(metadata meta-data/instance-id)
  credentials | request --config - --aws-sigv4 "aws:amz:$ART32_REGION:ec2" --output /dev/null \
    --data "Action=AttachVolume&Version=2016-11-15&Device=/dev/sdf&InstanceId=$instance&VolumeId=$ART32_VOLUME" \
    "$ART32_EC2_URL/"
}

# A file system is made only on a volume that was created empty and that is empty still: one made
# from a snapshot is never formatted, whatever blkid says of it.
mount_volume() {
  [ -n "$ART32_VOLUME" ] || return 0
  attach_volume
  local device="$ART32_DISKS/nvme-Amazon_Elastic_Block_Store_${ART32_VOLUME/-/}" tries=0
  until [ -e "$device" ]; do
    tries=$((tries + 1))
    [ "$tries" -le 300 ] || {
      say "the volume $ART32_VOLUME has not appeared"
      return 1
    }
    sleep 2
  done
  if ! blkid --probe "$device" >/dev/null 2>&1; then
    [ "$ART32_VOLUME_BLANK" = yes ] || {
      say "the volume $ART32_VOLUME holds no file system and was made from a snapshot: not formatted"
      return 1
    }
    mkfs.ext4 -q -m 1 -L art32-data "$device"
  fi
  mkdir -p "$ART32_MOUNT"
  grep -qF "$device" "$fstab" ||
    echo "$device $ART32_MOUNT ext4 defaults,nosuid,nodev,nofail,x-systemd.device-timeout=600 0 2" >>"$fstab"
  mountpoint -q "$ART32_MOUNT" || mount "$ART32_MOUNT"
}

install_distribution_packages() {
  [ -n "$ART32_PACKAGES" ] || return 0
  export DEBIAN_FRONTEND=noninteractive
  local tries=0
  # shellcheck disable=SC2086 # names of packages, one a word
  until apt-get -qq update && apt-get -qq -y upgrade && apt-get -qq -y install $ART32_PACKAGES; do
    tries=$((tries + 1))
    [ "$tries" -le 5 ] || return 1
    sleep 30
  done
}

# Install what the parameter names now: at the first boot, and again by the association that rolls a
# release out. User-data never runs twice.
install_release() {
  local own="stacks/$ART32_STACK/$ART32_DUTY" sums architecture
  mkdir -p "$work" "$root/etc/art32"
  cd "$work"
  parameter "$ART32_PARAMETER" >RELEASE
  rm -rf stacks shared
  fetch_all RELEASE ""
  architecture=$(dpkg --print-architecture)
  for sums in shared/*/SHA256SUMS; do
    [ -f "$sums" ] || continue
    (
      cd "$(dirname "$sums")"
      # what lies below the name of a duty is for that duty alone
      grep -E "  ($ART32_DUTY/)?[^/]*_($architecture|all)\.deb\$|  rds-ca\.pem\$" SHA256SUMS >wanted
      fetch_all wanted "$(dirname "$sums")/"
      install_packages
      if [ -f rds-ca.pem ]; then install -D -m 0644 rds-ca.pem "$root/etc/art32/rds-ca.pem"; fi
    )
  done
  # Each file lies under its place on the machine.
  (cd "$own" && find etc -type f -exec install -D -m 0644 {} "$root/{}" \;)
  install_named_packages
  guard
  hand_over
}

# Those of the release as they are; of those of the duty what is newer than what is there.
install_packages() {
  local file name files=(./*.deb)
  for file in ./"$ART32_DUTY"/*.deb; do
    [ -f "$file" ] || continue
    name=$(dpkg-deb --field "$file" Package)
    if dpkg --compare-versions "$(dpkg-deb --field "$file" Version)" gt \
      "$(dpkg-query --show --showformat '${Version}' "$name" 2>/dev/null || true)"; then
      files+=("$file")
    fi
  done
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --allow-downgrades --no-install-recommends \
    install "${files[@]}" || dpkg --install "${files[@]}"
}

# What the stack's own sources of packages bring, once their files are in place.
install_named_packages() {
  local list="$root/etc/art32/packages.list" name missing=()
  [ -f "$list" ] || return 0
  while read -r name; do
    dpkg-query --show --showformat '${db:Status-Status}\n' "$name" 2>/dev/null |
      grep -qx installed || missing+=("$name")
  done <"$list"
  [ "${#missing[@]}" -eq 0 ] || { apt-get -qq update && apt-get -qq -y install "${missing[@]}"; }
}

# The firewall, the audit's rules and the window for restarts, each as the stack's files say.
guard() {
  local zone time
  systemctl daemon-reload
  if command -v nft >/dev/null; then
    # reload exchanges the rules in one transaction; a stop would leave a moment without any
    systemctl enable nftables && systemctl reload-or-restart nftables
  fi
  # without its rules the audit is incomplete, without the rest there is no backup: health tells
  if command -v augenrules >/dev/null; then
    augenrules --load || say "the kernel takes no audit rules"
  fi
  if [ -f "$root/etc/art32/reboot-times" ]; then
    zone=$(metadata meta-data/placement/availability-zone)
    time=$(awk -v zone="$zone" '$1 == zone { print $2 }' "$root/etc/art32/reboot-times")
    [ -z "$time" ] || echo "Unattended-Upgrade::Automatic-Reboot-Time \"$time\";" \
      >"$root/etc/apt/apt.conf.d/53art32-reboot"
  fi
}

# Have the agent run what its configuration asks for, if it is installed.
hand_over() {
  fetch_secrets
  command -v art32 >/dev/null && [ -f "$root/etc/art32/agent.toml" ] || return 0
  fetch_public_keys
  art32 --config "$root/etc/art32/agent.toml" config check
  case $ART32_DUTY in
    keeper | restorer) ;;
    *) art32 --config "$root/etc/art32/agent.toml" host enrol ;;
  esac
  art32 --config "$root/etc/art32/agent.toml" service apply
  if command -v nft >/dev/null; then systemctl reload-or-restart nftables; fi
}

# A key that was renewed has the same fingerprint, so it is fetched each time.
fetch_public_keys() {
  local fingerprint found
  mkdir -p "$root/etc/art32/public-keys"
  while read -r fingerprint; do
    credentials | request --config - --aws-sigv4 "aws:amz:$ART32_REGION:s3" \
      --header "x-amz-content-sha256: $empty" --output key.asc \
      "$ART32_BUCKET_URL/shared/keys/$fingerprint.asc"
    found=$(gpg --batch --no-options --homedir "$work" --no-autostart --with-colons \
      --show-keys key.asc | awk -F: '$1 == "fpr" { print $10; exit }')
    [ "$found" = "$fingerprint" ] || {
      say "shared/keys/$fingerprint.asc holds another key"
      return 1
    }
    install -m 0644 key.asc "$root/etc/art32/public-keys/$fingerprint.asc"
  done <"$root/etc/art32/public-keys.list"
}

# Secrets are filled by hand: one that has no value yet is left out, and said.
fetch_secrets() {
  local file owner unit secret
  [ -f "$root/etc/art32/secrets.list" ] || return 0
  while read -r file owner unit secret; do
    (
      umask 077
      set -o pipefail
      credentials | request --retry 2 --config - --aws-sigv4 "aws:amz:$ART32_REGION:secretsmanager" \
        --header 'Content-Type: application/x-amz-json-1.1' \
        --header 'X-Amz-Target: secretsmanager.GetSecretValue' \
        --data "{\"SecretId\": \"$secret\"}" "$ART32_SECRETS_URL/" |
        python3 -c 'import json, sys; sys.stdout.write(json.load(sys.stdin)["SecretString"])' >fetched
    ) || {
      rm -f fetched
      say "the secret $secret has no value yet: $file is not written"
      continue
    }
    if ! cmp -s fetched "$root$file"; then
      install -D -m 0600 -o "$owner" fetched "$root$file"
      systemctl try-restart "$unit"
    fi
    rm -f fetched
  done <"$root/etc/art32/secrets.list"
}

# Put the stack's settings of the machine's service in place, once: a fresh stack answers its health
# check before there is an application. Later changes are the agent's package's, or a person's.
configure_service() {
  local own="$root/etc"
  case $ART32_DUTY in
    web)
      install -d "$own/nginx/art32-site.d"
      install -m 0644 "$own/art32/nginx.conf" "$own/nginx/sites-enabled/art32.conf"
      # the agent rotates these logs
      rm -f "$own/nginx/sites-enabled/default" "$own/logrotate.d/nginx"
      nginx -t -q && systemctl restart nginx
      ;;
    db)
      local place
      for place in "$own"/postgresql/*/main; do
        install -m 0640 -o postgres -g postgres -t "$place" "$own/art32/pg_hba.conf" \
          "$own/art32/pg_ident.conf"
        install -m 0644 "$own/art32/postgresql.conf" "$place/conf.d/art32.conf"
      done
      rm -f "$own/logrotate.d/postgresql-common"
      systemctl restart postgresql
      runuser -u postgres -- psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 <<'SQL'
DO $$ BEGIN CREATE ROLE art32_backup LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE art32_replication LOGIN REPLICATION;
  EXCEPTION WHEN duplicate_object THEN NULL; END $$;
DO $$ BEGIN CREATE ROLE art32_monitor LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT pg_read_all_data TO art32_backup;
GRANT pg_monitor TO art32_monitor;
SQL
      ;;
    restorer)
      # their programs are for drills; none of their own servers is wanted
      systemctl --quiet disable --now postgresql.service mariadb.service 2>/dev/null || true
      ;;
    mail)
      [ -f "$own/postfix/relay" ] || install -m 0600 /dev/null "$own/postfix/relay"
      install -m 0644 "$own/art32/main.cf" "$own/postfix/main.cf"
      install -m 0644 "$own/art32/opendkim.conf" "$own/opendkim.conf"
      # it takes mail from the webservers alone, and none from the world
      postconf -c "$own/postfix" -MX 'smtp/inet'
      postconf -c "$own/postfix" -M 'submission/inet=submission inet n - y - - smtpd'
      systemctl restart postfix
      systemctl restart opendkim || say "opendkim does not sign: is its secret still empty?"
      ;;
  esac
}

main() {
  set -E
  trap 'say "stopped at line $LINENO: $BASH_COMMAND"' ERR
  mkdir -p /var/lib/art32
  # the image's way in for people; here they come by Session Manager
  systemctl --quiet disable --now ssh.service 2>/dev/null || true
  mount_volume
  install_distribution_packages
  install_release
  cd /
  configure_service
  say "first boot of $ART32_DUTY in $ART32_STACK is done"
}

[ "${ART32_ONLY_DEFINE:-}" = yes ] || main
