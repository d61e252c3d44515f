#!/bin/bash
# First boot of a machine: installs what the stack has pinned, mounts its data, hands over to the
# agent's package. Settings (ART32_...) are put in front of this text by infra/user_data.py. It needs
# bash, curl 7.75, python3 and dpkg, which Debian's cloud images have, and no AWS SDK.
#
# Credentials go to curl on standard input, never into arguments. What is fetched counts only when
# its SHA-256 is the one in the parameter `$ART32_PARAMETER`: lines as sha256sum writes them, of
# names in the artifact bucket.
set -euo pipefail
umask 022

readonly work=/var/lib/art32/first-boot
readonly fstab=${ART32_FSTAB:-/etc/fstab}
readonly empty=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855

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
  mkdir -p "$work" /etc/art32
  cd "$work"
  parameter "$ART32_PARAMETER" >RELEASE
  rm -rf stacks shared
  fetch_all RELEASE ""
  architecture=$(dpkg --print-architecture)
  for sums in shared/*/SHA256SUMS; do
    [ -f "$sums" ] || continue
    (
      cd "$(dirname "$sums")"
      grep -E "_($architecture|all)\.deb\$" SHA256SUMS >wanted
      fetch_all wanted "$(dirname "$sums")/"
      apt-get -qq -y install ./*.deb || dpkg --install ./*.deb
    )
  done
  # From here on the agent's package owns the machine: its units read these files.
  install -m 0644 -t /etc/art32 "$own"/*
  install -m 0644 /etc/art32/nftables.conf /etc/nftables.conf
  if command -v nft >/dev/null; then systemctl enable nftables && systemctl restart nftables; fi
  if [ -x /usr/lib/art32/first-boot ]; then /usr/lib/art32/first-boot; fi
}

# Put the stack's settings of the machine's service in place, once: a fresh stack answers its health
# check before there is an application. Later changes are the agent's package's, or a person's.
configure_service() {
  local own="${ART32_ETC:-/etc}"
  case $ART32_DUTY in
    web)
      install -d "$own/nginx/art32-site.d"
      install -m 0644 "$own/art32/nginx.conf" "$own/nginx/sites-enabled/art32.conf"
      rm -f "$own/nginx/sites-enabled/default"
      nginx -t -q && systemctl restart nginx
      ;;
    db)
      local place
      for place in "$own"/postgresql/*/main; do
        install -m 0640 -o postgres -g postgres "$own/art32/pg_hba.conf" "$place/pg_hba.conf"
        printf '%s\n' "listen_addresses = '*'" 'ssl = on' 'log_statement = none' \
          'log_parameter_max_length_on_error = 0' >"$place/conf.d/art32.conf"
      done
      systemctl restart postgresql
      ;;
    mail)
      install -m 0600 /dev/null "$own/postfix/relay"
      install -m 0644 "$own/art32/main.cf" "$own/postfix/main.cf"
      postconf -c "$own/postfix" -M 'submission/inet=submission inet n - y - - smtpd'
      systemctl restart postfix
      ;;
  esac
}

main() {
  mkdir -p /var/lib/art32
  # run documents source it for `credentials`, `request` and `install_release`
  install -m 0700 "${BASH_SOURCE[0]}" /var/lib/art32/first-boot.sh
  mount_volume
  install_distribution_packages
  install_release
  configure_service
  say "first boot of $ART32_DUTY in $ART32_STACK is done"
}

[ "${ART32_ONLY_DEFINE:-}" = yes ] || main
