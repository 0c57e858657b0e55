"""Results as pages: what was measured goes in, HTML comes out, and nothing is computed.

from tfft.reports.parity import parity_page
Path("parity.html").write_text(parity_page(result))
"""
