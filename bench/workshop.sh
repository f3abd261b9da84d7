#!/usr/bin/env bash
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The commands of the workshop in order. `make bench` compares this script with site.yml.
# The names and ports are those of the workshop, unless environment variables set others. bench/sandbox.py sets the images
# and charts of the lab, and HOME. The lab cannot reach a chart repository, so the script omits `helm repo add` and
# `helm repo update`, which would make it slower. The lab does not contain `step`, so openssl prints the certificates.
# `until` and `kubectl wait` replace the participant who waits for an object before the next command.
# With CHART_VALUES, a folder with the values that site.yml uses, the script installs the charts with these values instead
# of the workshop's options, and asks cert-manager's webhook as site.yml does, because startupapicheck is off.
set -euo pipefail
: "${CLUSTER:=pki-cluster}" "${NETWORK:=pki-network}" "${VAULT_NAME:=vault}" "${VAULT_PORT:=8200}"
: "${HTTP_PORT:=80}" "${HTTPS_PORT:=443}"
: "${NODE_IMAGE:?}" "${VAULT_IMAGE:?}" "${CERT_MANAGER_CHART:?}" "${TRUST_MANAGER_CHART:?}"
: "${LINKERD_CRDS_CHART:?}" "${LINKERD_CHART:?}" "${LINKERD_VALUES:?}" "${LINKERD_VERSION:?}"

step() { echo "@step $EPOCHREALTIME $*"; }
inspect_cert() { openssl x509 -noout -subject -issuer -ext subjectKeyIdentifier,authorityKeyIdentifier; }

CERT_MANAGER_OPTIONS=(--set installCRDs=true)
TRUST_MANAGER_OPTIONS=(--set app.trust.namespace=linkerd --set defaultPackage.enabled=false)
LINKERD_OPTIONS=(-f "$LINKERD_VALUES" --set identity.issuer.scheme=kubernetes.io/tls --set identity.externalCA=true)
if [ -n "${CHART_VALUES:-}" ]; then
  CERT_MANAGER_OPTIONS=(-f "$CHART_VALUES/cert-manager.json")
  TRUST_MANAGER_OPTIONS=(-f "$CHART_VALUES/trust-manager.json")
  LINKERD_OPTIONS=(-f "$CHART_VALUES/linkerd-control-plane.json")
fi

step cluster
k3d cluster delete "$CLUSTER"
k3d cluster create "$CLUSTER" \
  --image "$NODE_IMAGE" \
  -p "$HTTP_PORT:80@loadbalancer" -p "$HTTPS_PORT:443@loadbalancer" \
  --network="$NETWORK" \
  --k3s-arg '--disable=local-storage,traefik,metrics-server@server:*;agents:*'
kubectl get ns

step vault
docker kill "$VAULT_NAME" 2> /dev/null || true
docker run --detach --rm --name "$VAULT_NAME" -p "$VAULT_PORT:8200" --network="$NETWORK" --cap-add=IPC_LOCK \
  "$VAULT_IMAGE" server -dev -dev-listen-address 0.0.0.0:8200 -dev-root-token-id my-token
export VAULT_ADDR="http://127.0.0.1:$VAULT_PORT"
until vault status; do sleep 0.2; done

step pki
vault login my-token
vault secrets enable pki
vault secrets tune -max-lease-ttl=2160h pki
vault write pki/config/urls \
  issuing_certificates="$VAULT_ADDR/v1/pki/ca" crl_distribution_points="$VAULT_ADDR/v1/pki/crl"
echo 'path "pki*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }' |
  vault policy write pki_policy -
TOKEN=$(vault write -field=token /auth/token/create policies=pki_policy \
  no_parent=true no_default_policy=true renewable=true ttl=767h num_uses=0)
CERT=$(vault write -field=certificate pki/root/generate/internal \
  common_name=root.linkerd.cluster.local ttl=2160h key_type=ec)
inspect_cert <<< "$CERT"

step cert-manager
helm install cert-manager "$CERT_MANAGER_CHART" -n cert-manager --create-namespace "${CERT_MANAGER_OPTIONS[@]}" --wait
if [ -n "${CHART_VALUES:-}" ]; then
  until kubectl create --dry-run=server -f - << YAML; do sleep 0.2; done
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: webhook-probe, namespace: cert-manager}
spec: {selfSigned: {}}
YAML
fi

step trust-manager
kubectl create namespace linkerd
helm install trust-manager "$TRUST_MANAGER_CHART" -n cert-manager "${TRUST_MANAGER_OPTIONS[@]}" --wait
kubectl get pods -n cert-manager

step certificates
kubectl create secret generic my-secret-token --namespace=cert-manager --from-literal=token="$TOKEN"
kubectl describe secret -n cert-manager my-secret-token
VAULT_DOCKER_ADDRESS=$(docker inspect "$NETWORK" |
  jq -r --arg name "$VAULT_NAME" '.[0].Containers[] | select(.Name == $name) | .IPv4Address' | cut -d/ -f1)
kubectl apply -f - << YAML
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: vault-issuer}
spec:
  vault:
    server: http://$VAULT_DOCKER_ADDRESS:8200
    path: pki/root/sign-intermediate
    auth: {tokenSecretRef: {name: my-secret-token, key: token}}
YAML
kubectl wait --for=condition=Ready clusterissuer/vault-issuer --timeout=120s
kubectl get clusterissuers -o wide
kubectl apply -f - << YAML
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: linkerd-identity-issuer, namespace: linkerd}
spec:
  secretName: linkerd-identity-issuer
  isCA: true
  commonName: identity.linkerd.cluster.local
  dnsNames: [identity.linkerd.cluster.local]
  duration: 48h
  renewBefore: 25h
  privateKey: {algorithm: ECDSA}
  usages: [cert sign, crl sign, server auth, client auth]
  issuerRef: {kind: ClusterIssuer, name: vault-issuer}
YAML
# trust-manager's webhook may refuse it at first: a visitor types it again.
until kubectl apply -f - << YAML; do sleep 0.2; done
apiVersion: trust.cert-manager.io/v1alpha1
kind: Bundle
metadata: {name: linkerd-identity-trust-roots}
spec:
  sources: [{secret: {name: linkerd-identity-issuer, key: ca.crt}}]
  target: {configMap: {key: ca-bundle.crt}}
YAML
kubectl wait --for=condition=Ready certificate/linkerd-identity-issuer -n linkerd --timeout=120s
kubectl wait --for=condition=Synced bundle/linkerd-identity-trust-roots --timeout=120s
kubectl get bundle,certificate -A
anchor() { kubectl get configmap -n linkerd linkerd-identity-trust-roots -o jsonpath='{.data.ca-bundle\.crt}'; }
issuer() { kubectl get secret -n linkerd linkerd-identity-issuer -o jsonpath="{.data.$1}" | base64 -d; }
anchor | inspect_cert
issuer 'tls\.crt' | inspect_cert
anchor | inspect_cert
issuer 'ca\.crt' | inspect_cert

step linkerd
helm install linkerd-crds -n linkerd "$LINKERD_CRDS_CHART"
helm install linkerd-control-plane "$LINKERD_CHART" -n linkerd "${LINKERD_OPTIONS[@]}"

step check
linkerd check --expected-version "$LINKERD_VERSION"

step end
