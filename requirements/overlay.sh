# In the image's build: installs the package into /opt/r3mes, lists what is there, and copies what
# the dependencies do not have yet to /overlay, so that a new version is one small layer.
set -eu
sbom=/usr/share/doc/r3mes/sbom.json
uv pip install --quiet --python /opt/r3mes --offline --no-deps --compile-bytecode /dist/*.whl
mkdir -p /overlay "$(dirname $sbom)"
/sbom/bin/cyclonedx-py environment --output-reproducible --output-format JSON --output-file $sbom \
  /opt/r3mes/bin/python
cp -a --parents $sbom /opt/r3mes/bin/r3mes \
  /opt/r3mes/lib/python3*/site-packages/r3mes /opt/r3mes/lib/python3*/site-packages/r3mes-*.dist-info \
  /overlay
